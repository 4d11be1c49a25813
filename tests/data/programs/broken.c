int main(void)
{
	return undeclared_word;
}
