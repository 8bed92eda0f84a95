"""The cellar: the kernel as Python sees it. The only package that uses ctypes; imports nothing of ours."""
