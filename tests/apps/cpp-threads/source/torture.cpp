// What C++ has for threads, each used by several threads at once. What is printed does not depend on the order of events.
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <iostream>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static constexpr int THREADS = 8;

// Runs the function in so many threads and joins them all.
template <typename F> static void together(int count, F function) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; i++)
        threads.emplace_back(function, i);
    for (auto &thread : threads)
        thread.join();
}

static void mutexes() {
    std::mutex mutex;
    std::recursive_mutex recursive;
    std::timed_mutex timed;
    long plain = 0, nested = 0, late = 0;
    together(THREADS, [&](int) {
        for (int i = 0; i < 3000; i++) {
            {
                std::lock_guard guard(mutex);
                plain++;
            }
            {
                std::scoped_lock outer(recursive);
                std::scoped_lock inner(recursive);
                nested++;
            }
            std::unique_lock guard(timed, std::defer_lock);
            while (!guard.try_lock_for(10ms))
                ;
            late++;
        }
    });
    std::cout << "mutexes " << plain << ' ' << nested << ' ' << late << '\n';

    // Two locks, taken in either order.
    std::mutex left, right;
    long moves = 0;
    together(4, [&](int number) {
        for (int i = 0; i < 2000; i++) {
            if (number % 2) {
                std::scoped_lock both(left, right);
                moves++;
            } else {
                std::scoped_lock both(right, left);
                moves++;
            }
        }
    });
    std::cout << "both locks " << moves << '\n';
    timed.lock();
    std::thread([&] { std::cout << "held " << timed.try_lock_for(5ms) << '\n'; }).join();
    timed.unlock();
}

static void conditions() {
    std::mutex mutex;
    std::condition_variable changed;
    std::condition_variable_any any;
    std::deque<int> queue;
    bool is_closed = false;
    std::atomic<long> sum{0};
    std::thread producer([&] {
        for (int i = 1; i <= 5000; i++) {
            std::unique_lock guard(mutex);
            any.wait(guard, [&] { return queue.size() < 16; });
            queue.push_back(i);
            changed.notify_one();
        }
        std::lock_guard guard(mutex);
        is_closed = true;
        changed.notify_all();
    });
    together(4, [&](int) {
        for (;;) {
            std::unique_lock guard(mutex);
            changed.wait(guard, [&] { return is_closed || !queue.empty(); });
            if (queue.empty())
                return;
            sum += queue.front();
            queue.pop_front();
            any.notify_one();
        }
    });
    producer.join();
    std::cout << "queue " << sum << '\n';
    std::unique_lock guard(mutex);
    auto before = std::chrono::steady_clock::now();
    bool is_done = changed.wait_for(guard, 10ms, [] { return false; });
    std::cout << "time-out " << is_done << ' ' << (std::chrono::steady_clock::now() - before >= 10ms) << '\n';
    std::cout << "until " << (changed.wait_until(guard, std::chrono::system_clock::now() - 1s) == std::cv_status::timeout) << '\n';
}

static void shared_mutexes() {
    std::shared_mutex mutex;
    std::shared_timed_mutex timed;
    std::map<int, int> map;
    std::atomic<int> torn{0};
    together(THREADS, [&](int number) {
        for (int i = 0; i < 1000; i++)
            if (number < 2) {
                std::unique_lock guard(mutex);
                map[i] = number;
                map[-i] = number;
            } else {
                std::shared_lock guard(mutex);
                auto one = map.find(i), other = map.find(-i);
                torn += (one == map.end()) != (other == map.end());
                if (one != map.end() && other != map.end())
                    torn += one->second != other->second;
            }
    });
    std::cout << "shared mutex " << map.size() << " torn " << torn << '\n';
    std::shared_lock reader(timed);
    std::thread([&] {
        std::cout << "second reader " << timed.try_lock_shared() << ", writer " << timed.try_lock_for(5ms) << '\n';
        timed.unlock_shared();
    }).join();
}

static long fibonacci(int n) {
    if (n < 2)
        return n;
    if (n < 14)
        return fibonacci(n - 1) + fibonacci(n - 2);
    auto left = std::async(std::launch::async, fibonacci, n - 1);
    return fibonacci(n - 2) + left.get();
}

static void futures() {
    std::cout << "async " << fibonacci(20) << '\n';
    auto lazy = std::async(std::launch::deferred, [] { return std::string("later"); });
    std::cout << (lazy.wait_for(0s) == std::future_status::deferred) << ' ' << lazy.get() << '\n';
    std::promise<int> promise;
    std::shared_future<int> shared = promise.get_future().share();
    std::atomic<int> sum{0};
    std::thread setter([&] {
        std::this_thread::sleep_for(5ms);
        promise.set_value(6);
    });
    together(4, [&, shared](int) { sum += shared.get(); });
    setter.join();
    std::cout << "shared future " << sum << '\n';
    std::packaged_task<int(int)> task([](int value) { return value * 2; });
    auto answer = task.get_future();
    std::thread(std::move(task), 21).join();
    std::cout << "task " << answer.get() << '\n';
    std::future<int> broken;
    {
        std::promise<int> leaver;
        broken = leaver.get_future();
    }
    try {
        broken.get();
    } catch (const std::future_error &error) {
        std::cout << "broken promise " << (error.code() == std::future_errc::broken_promise) << '\n';
    }
}

static void exceptions() {
    std::vector<std::exception_ptr> caught(THREADS);
    together(THREADS, [&](int number) {
        try {
            // Unwinding in several threads at once.
            for (int i = 0; i < 50; i++)
                try {
                    std::vector<int>(3).at(static_cast<size_t>(number) + 3);
                } catch (const std::out_of_range &) {
                }
            throw std::runtime_error("from thread " + std::to_string(number));
        } catch (...) {
            caught[static_cast<size_t>(number)] = std::current_exception();
        }
    });
    for (auto &pointer : caught)
        try {
            std::rethrow_exception(pointer);
        } catch (const std::exception &error) {
            std::cout << "exception " << error.what() << '\n';
        }
    auto future = std::async(std::launch::async, []() -> int { throw 42; });
    try {
        future.get();
    } catch (int value) {
        std::cout << "exception of a future " << value << '\n';
    }
}

struct Counted {
    static inline std::atomic<int> made{0}, gone{0};
    int value = 0;
    Counted() { made++; }
    ~Counted() { gone++; }
};
static thread_local Counted counted;
static thread_local int number_of_thread = -1;

static void thread_locals() {
    std::atomic<int> wrong{0};
    together(THREADS, [&](int number) {
        number_of_thread = number;
        for (int i = 0; i < 1000; i++) {
            counted.value += number;
            if (i % 100 == 0)
                std::this_thread::yield();
        }
        wrong += number_of_thread != number || counted.value != number * 1000;
    });
    std::cout << "thread locals made " << Counted::made << " gone " << Counted::gone << " wrong " << wrong << " mine "
              << number_of_thread << '\n';
}

static void once() {
    std::once_flag flag;
    std::atomic<int> calls{0}, tries{0};
    together(THREADS, [&](int) {
        try {
            std::call_once(flag, [&] {
                if (tries++ < 2)
                    throw std::runtime_error("not yet");
                std::this_thread::sleep_for(2ms);
                calls++;
            });
        } catch (const std::runtime_error &) {
        }
        static const int slow = [&] {
            std::this_thread::sleep_for(2ms);
            return ++calls;
        }();
        (void)slow;
    });
    std::cout << "once " << calls << " tries " << tries << '\n';
}

static void atomics() {
    std::atomic<int> turn{0};
    std::thread partner([&] {
        for (int i = 0; i < 2000; i++) {
            turn.wait(2 * i);
            turn = 2 * i + 2;
            turn.notify_one();
        }
    });
    for (int i = 0; i < 2000; i++) {
        turn = 2 * i + 1;
        turn.notify_one();
        turn.wait(2 * i + 1);
    }
    partner.join();
    std::cout << "atomic wait " << turn << '\n';

    std::atomic_flag lock = ATOMIC_FLAG_INIT;
    std::atomic<std::uint64_t> sum{0}, largest{0};
    long guarded = 0;
    together(THREADS, [&](int number) {
        for (int i = 0; i < 2000; i++) {
            while (lock.test_and_set(std::memory_order_acquire))
                lock.wait(true, std::memory_order_relaxed);
            guarded++;
            lock.clear(std::memory_order_release);
            lock.notify_one();
            sum.fetch_add(static_cast<std::uint64_t>(i));
            auto seen = largest.load();
            auto mine = static_cast<std::uint64_t>(number * 10000 + i);
            while (seen < mine && !largest.compare_exchange_weak(seen, mine))
                ;
        }
    });
    std::cout << "atomics " << guarded << ' ' << sum << ' ' << largest << '\n';
    auto pointer = std::make_shared<int>(5);
    together(THREADS, [pointer](int) {
        for (int i = 0; i < 5000; i++)
            auto copy = pointer;
    });
    std::cout << "owners " << pointer.use_count() << '\n';
}

static void gates() {
    std::barrier barrier(THREADS);
    std::latch latch(THREADS);
    std::counting_semaphore<3> semaphore(3);
    std::binary_semaphore empty(0);
    std::atomic<int> arrived{0}, early{0}, inside{0}, crowd{0};
    together(THREADS, [&](int) {
        latch.arrive_and_wait();
        for (int round = 1; round <= 50; round++) {
            arrived++;
            barrier.arrive_and_wait();
            early += arrived < round * THREADS;
            barrier.arrive_and_wait();
            semaphore.acquire();
            crowd += ++inside > 3;
            inside--;
            semaphore.release();
        }
    });
    std::cout << "gates " << arrived << " early " << early << " crowd " << crowd << " empty " << empty.try_acquire_for(5ms) << '\n';
}

static void sorting() {
    std::vector<unsigned> values(200000);
    unsigned state = 1;
    for (auto &value : values)
        value = state = state * 1664525u + 1013904223u;
    auto parts = 8u, size = static_cast<unsigned>(values.size()) / parts;
    together(static_cast<int>(parts), [&](int number) {
        auto begin = values.begin() + static_cast<long>(static_cast<unsigned>(number) * size);
        std::sort(begin, begin + size);
    });
    for (auto width = size; width < values.size(); width *= 2)
        together(static_cast<int>(values.size() / (2 * width)), [&](int number) {
            auto begin = values.begin() + static_cast<long>(2 * width) * number;
            std::inplace_merge(begin, begin + width, begin + 2 * width);
        });
    std::cout << "sorted " << std::is_sorted(values.begin(), values.end()) << ' ' << values.front() << ' ' << values.back() << '\n';
}

static void threads() {
    std::thread thread;
    std::cout << "joinable " << thread.joinable();
    thread = std::thread([] {});
    std::cout << ' ' << thread.joinable();
    thread.join();
    std::cout << ' ' << thread.joinable() << '\n';
    std::promise<void> done;
    std::thread([&] { done.set_value_at_thread_exit(); }).detach();
    done.get_future().wait();
    std::cout << "detached; processors " << (std::thread::hardware_concurrency() >= 1) << '\n';
    for (int i = 0; i < 500; i++)
        std::thread([] {}).join();
    std::cout << "five hundred\n";
    try {
        thread.join();
    } catch (const std::system_error &error) {
        std::cout << "join again: " << (error.code() == std::errc::invalid_argument || error.code() == std::errc::no_such_process)
                  << '\n';
    }
}

int main() {
    mutexes();
    conditions();
    shared_mutexes();
    futures();
    exceptions();
    thread_locals();
    once();
    atomics();
    gates();
    sorting();
    threads();
    std::cout << "done\n";
}
