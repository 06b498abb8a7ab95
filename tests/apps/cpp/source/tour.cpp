// A tour through what a C++ program asks of a system: exceptions (unwinding reads the program's own headers through
// the auxiliary vector), iostreams, locale-free formatting, containers that allocate, and std::filesystem.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace fs = std::filesystem;

namespace {

struct Noisy {
    explicit Noisy(int number) : number(number) {}
    ~Noisy() { std::cout << "unwound " << number << '\n'; }
    int number;
};

int descend(int depth) {
    Noisy noisy(depth);
    if (depth == 0)
        throw std::range_error("the bottom");
    return descend(depth - 1) + 1;
}

void exceptions() {
    try {
        descend(3);
    } catch (const std::logic_error &) {
        std::cout << "the wrong handler\n";
    } catch (const std::runtime_error &error) {
        std::cout << "caught " << error.what() << '\n';
    }
    try {
        try {
            std::vector<int>(3).at(7) = 1;
        } catch (...) {
            std::throw_with_nested(std::runtime_error("outer"));
        }
    } catch (const std::exception &outer) {
        std::cout << "caught " << outer.what();
        try {
            std::rethrow_if_nested(outer);
        } catch (const std::out_of_range &) {
            std::cout << " around an out_of_range";
        }
        std::cout << '\n';
    }
    try {
        const volatile std::size_t impossible = std::size_t{1} << 62;
        std::unique_ptr<char[]> huge(new char[impossible]);
        std::cout << "allocated the impossible\n";
    } catch (const std::bad_alloc &) {
        std::cout << "caught bad_alloc\n";
    }
    int count = 0;
    for (int i = 0; i < 2000; i++) {
        try {
            if (i % 2)
                throw i;
            throw std::to_string(i);
        } catch (int number) {
            count += number;
        } catch (const std::string &text) {
            count += static_cast<int>(text.size());
        }
    }
    std::cout << "2000 exceptions sum to " << count << '\n';
}

void streams() {
    std::ostringstream text;
    text << std::hex << std::showbase << 48879 << ' ' << std::dec << std::setw(8) << std::setfill('*') << 42 << ' '
         << std::fixed << std::setprecision(3) << 2.0 / 3.0 << ' ' << std::scientific << 12345.678 << ' '
         << std::boolalpha << true;
    std::cout << text.str() << '\n';
    std::istringstream numbers("17 -4 0x1f nonsense");
    int a = 0, b = 0;
    std::string rest;
    numbers >> a >> b >> rest;
    std::cout << a << ' ' << b << ' ' << rest << '\n';
    std::string word;
    std::map<std::string, int> counts;
    while (std::cin >> word)
        counts[word]++;
    for (const auto &[name, times] : counts)
        std::cout << "stdin: " << name << " x" << times << '\n';
    std::cout << (std::cin.eof() ? "stdin ended\n" : "stdin did not end\n");
}

const char *kind(const fs::file_status &status) {
    switch (status.type()) {
    case fs::file_type::regular: return "file";
    case fs::file_type::directory: return "directory";
    case fs::file_type::symlink: return "symlink";
    case fs::file_type::not_found: return "nothing";
    default: return "something else";
    }
}

void files() {
    const fs::path base = fs::path("tmp") / "tour";
    fs::remove_all(base);
    std::cout << "created " << fs::create_directories(base / "one" / "two") << '\n';
    {
        std::ofstream out(base / "one" / "numbers.txt");
        for (int i = 0; i < 10000; i++)
            out << i << '\n';
    }
    std::cout << "size " << fs::file_size(base / "one" / "numbers.txt") << '\n';
    fs::create_symlink("numbers.txt", base / "one" / "link");
    fs::create_hard_link(base / "one" / "numbers.txt", base / "hard");
    std::cout << "links " << fs::hard_link_count(base / "hard") << ", same file "
              << fs::equivalent(base / "hard", base / "one" / "link") << '\n';
    std::cout << "copied " << fs::copy_file(base / "hard", base / "copy") << '\n';
    fs::resize_file(base / "copy", 12);
    std::ifstream in(base / "copy");
    std::cout << "copy holds " << std::quoted(std::string(std::istreambuf_iterator<char>(in), {})) << '\n';
    fs::permissions(base / "copy", fs::perms::owner_read | fs::perms::group_exec);
    std::cout << "permissions " << std::oct << static_cast<int>(fs::status(base / "copy").permissions()) << std::dec << '\n';
    fs::rename(base / "copy", base / "one" / "two" / "moved");

    std::vector<std::string> lines;
    for (const auto &entry : fs::recursive_directory_iterator(base))
        lines.push_back(entry.path().lexically_relative(base).string() + " is a " + kind(entry.symlink_status()));
    std::sort(lines.begin(), lines.end());
    for (const auto &line : lines)
        std::cout << line << '\n';

    std::error_code code;
    fs::remove(base / "one", code);
    std::cout << "removing a full directory: " << code.message() << '\n';
    fs::copy_file(base / "absent", base / "copy", code);
    std::cout << "copying nothing: " << code.message() << '\n';
    try {
        fs::file_size(base / "absent");
    } catch (const fs::filesystem_error &error) {
        std::cout << "caught " << error.code().message() << " for " << error.path1().filename() << '\n';
    }
    const auto before = fs::last_write_time(base / "hard");
    fs::last_write_time(base / "hard", before - std::chrono::hours(24));
    std::cout << "a day older: " << (before - fs::last_write_time(base / "hard") == std::chrono::hours(24)) << '\n';
    std::cout << "canonical ends in " << fs::canonical(base / "one" / ".." / "one" / "link").filename() << '\n';
    std::cout << "removed " << fs::remove_all(base) << '\n';
}

void memory() {
    std::vector<std::uint64_t> values(4'000'000);
    std::iota(values.begin(), values.end(), std::uint64_t{0x9e3779b97f4a7c15});
    for (auto &value : values)
        value = (value ^ (value >> 31)) * 0xbf58476d1ce4e5b9;
    std::sort(values.begin(), values.end());
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < values.size(); i += 1000)
        sum = sum * 31 + values[i];
    std::cout << "sorted " << values.size() << " values, digest " << std::hex << sum << std::dec << '\n';
}

} // namespace

int main(int argc, char **argv) {
    std::cout << argc - 1 << " arguments:";
    std::copy(argv + 1, argv + argc, std::ostream_iterator<const char *>(std::cout << ' ', " "));
    std::cout << std::endl;
    exceptions();
    streams();
    files();
    memory();
    std::cerr << "done" << std::endl;
    return 42;
}
