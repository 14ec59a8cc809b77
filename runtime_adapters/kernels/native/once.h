// Work that the first thread does while others wait, and that is done again only when it threw. std::call_once says the
// same, but needs glibc 2.34 when it is compiled against that.
#pragma once
#include <atomic>
#include <mutex>

namespace elsa {

class Once {
 public:
  template <typename Body>
  void run(Body&& body) {
    if (done_.load(std::memory_order_acquire)) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (done_.load(std::memory_order_relaxed)) return;
    body();
    done_.store(true, std::memory_order_release);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> done_{false};
};

}  // namespace elsa
