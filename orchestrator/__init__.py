"""qemu-lab: how a Linux process uses memory, as executable claims on real kernels and real glibcs."""
