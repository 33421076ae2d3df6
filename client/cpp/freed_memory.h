// How much freed memory a process keeps for its next allocations.
#pragma once

namespace wdelta {

// For programs that do little but transfers; to be called once, first in main, before there are
// threads. By default glibc gives memory back to the system whenever a piece was dealt with, and
// gets it again, zeroed page by page, for the next one: a third of the client's time. After this up
// to 16 MiB stay per arena, of which glibc has several for many threads. Does nothing with other C
// libraries.
void KeepFreedMemory();

}  // namespace wdelta
