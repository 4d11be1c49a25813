/* Never comes to a checkpoint, never ends. */
int main(void)
{
	for (;;)
		;
}
