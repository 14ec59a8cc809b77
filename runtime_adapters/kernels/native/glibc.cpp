// Keeps the library loadable by older C libraries than the one it is linked with.

#if defined(__linux__) && !defined(__ANDROID__)
// glibc 2.32 has it, to tell libstdc++ that a counter needs no atomic instruction. Ours says "there are threads", always.
extern "C" {
extern char __libc_single_threaded;
[[gnu::visibility("hidden")]] char __libc_single_threaded = 0;
}
#endif
