// What musl's headers call by other names than Android's C library does; compiled only where there is no NDK (build.py).
// Where the loader knows no __errno (glibc, under emulation) errors are written to a place that nobody reads.
#if defined(ELSA_BIONIC)
#include <cstddef>

extern "C" {
void __cxa_finalize(void* library);
// The linker's own.
extern __attribute__((visibility("hidden"))) void* __dso_handle;

// What was left to be done at the end is done when the library goes, as by the startup code that an NDK links in: ONNX
// Runtime unloads it with the last session, and the process would call into nothing.
__attribute__((destructor)) static void finish() { __cxa_finalize(&__dso_handle); }

int* __errno() __attribute__((weak));
void* memalign(size_t alignment, size_t size);

__attribute__((visibility("hidden"))) int* __errno_location() {
  static int nowhere;
  return __errno != nullptr ? __errno() : &nowhere;
}

// Android has it from version 9 on under its C11 name; under this one always.
__attribute__((visibility("hidden"))) void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

__attribute__((visibility("hidden"), no_builtin)) int bcmp(const void* a, const void* b, size_t count) {
  const auto *x = static_cast<const unsigned char*>(a), *y = static_cast<const unsigned char*>(b);
  for (size_t i = 0; i < count; ++i) {
    if (x[i] != y[i]) return 1;
  }
  return 0;
}
}
#endif
