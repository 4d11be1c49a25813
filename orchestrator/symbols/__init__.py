"""Types and symbols of kernels and libcs: debugging information, read once for a build-id, then from an index.

`door` opens them and attaches them to a drgn Program. `walk` makes an index (`index`) from what `roots` lists,
`shelf` keeps it in the cache, `finders` answers drgn's questions from it.
"""

from orchestrator.symbols.door import (
    DebugFile,
    KernelSymbols,
    LibcSymbols,
    open_kernel,
    open_libc,
    without_plugins,
)

__all__ = ["DebugFile", "KernelSymbols", "LibcSymbols", "open_kernel", "open_libc", "without_plugins"]
