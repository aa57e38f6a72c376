// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/files/file_error.h"
#include "engine/text/log.h"

namespace hh {
namespace {

/// A descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (value_ < 0) throw_file_error(path, "can't be opened");
  }
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return value_; }
  /// Leaves closing it to the caller.
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

struct stat regular_file(const std::filesystem::path& path, int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw_file_error(path, "can't be examined");
  if (S_ISDIR(status.st_mode)) {
    throw std::runtime_error(path.string() + ": it is a folder: give a file");
  }
  if (!S_ISREG(status.st_mode)) {
    throw std::runtime_error(
        path.string() + ": it is a pipe or a device: write what comes from it to a file first");
  }
  return status;
}

void write_all(const std::filesystem::path& path, int descriptor, const char* bytes,
               std::size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(descriptor, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_file_error(path, "can't be written");
    bytes += written;
    count -= std::size_t(written);
  }
}

void flush(const std::filesystem::path& path, int descriptor) {
  if (::fsync(descriptor) != 0) throw_file_error(path, "can't be flushed to the disk");
}

}  // namespace

namespace {

[[noreturn]] void fail_over_limit(const std::filesystem::path& path, const std::string& size,
                                  std::size_t max_bytes) {
  throw std::runtime_error(path.string() + ": " + size + " bytes, more than the " +
                           std::to_string(max_bytes) +
                           " that such a file may have: it isn't the file that is meant");
}

/// Zero: the end.
ssize_t read_some(const std::filesystem::path& path, int descriptor, void* to, std::size_t room) {
  for (;;) {
    const ssize_t got = ::read(descriptor, to, room);
    if (got >= 0) return got;
    if (errno != EINTR) throw_file_error(path, "can't be read");
  }
}

}  // namespace

std::vector<std::uint8_t> read_file_or_pipe(const std::filesystem::path& path,
                                            std::size_t max_bytes) {
  const Descriptor descriptor(path, O_RDONLY);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw_file_error(path, "can't be examined");
  if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return read_file(path, max_bytes);
  std::vector<std::uint8_t> bytes;
  constexpr std::size_t kStep = std::size_t{1} << 16;
  for (;;) {
    const std::size_t done = bytes.size();
    bytes.resize(done + kStep);
    const auto got = std::size_t(read_some(path, descriptor, bytes.data() + done, kStep));
    bytes.resize(done + got);
    if (got == 0) return bytes;
    if (bytes.size() > max_bytes) fail_over_limit(path, std::to_string(bytes.size()), max_bytes);
  }
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  // Non-blocking, so that a named pipe among the images can't hang us; files don't know the flag.
  const Descriptor descriptor(path, O_RDONLY | O_NONBLOCK);
  const auto size = std::size_t(regular_file(path, descriptor).st_size);
  if (size > max_bytes) fail_over_limit(path, std::to_string(size), max_bytes);
  std::vector<std::uint8_t> bytes(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = read_some(path, descriptor, bytes.data() + done, size - done);
    if (got == 0) break;  // cut short since it was opened
    done += std::size_t(got);
  }
  bytes.resize(done);
  return bytes;
}

namespace {

constexpr std::string_view kPattern = ".XXXXXX.tmp";
constexpr int kSuffix = 4;             // ".tmp", after the random letters
constexpr std::size_t kMaxName = 255;  // of a file, in bytes

/// What a temporary's name starts with: the file's, cut so that the pattern fits behind it.
std::string temporary_stem(const std::filesystem::path& path) {
  return path.filename().string().substr(0, kMaxName - kPattern.size());
}

/// Where links lead, also one that leads to nothing yet.
std::filesystem::path without_links(const std::filesystem::path& path) {
  constexpr int kMaxLinks = 40;  // the system's own limit
  std::filesystem::path at = path;
  std::error_code ignored;  // the write that follows says what is wrong
  for (int i = 0; i < kMaxLinks && std::filesystem::is_symlink(at, ignored); ++i) {
    const auto next = std::filesystem::read_symlink(at);
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  return at;
}

/// The descriptor of this process that a path stands for, as /dev/stdout and /dev/fd/3 do; otherwise
/// below 0. What lies behind it is the caller's, also where that is a file: it isn't replaced.
int own_descriptor(const std::filesystem::path& path) {
  constexpr int kMaxLinks = 40;
  std::filesystem::path at = path;
  std::error_code ignored;
  for (int i = 0; i < kMaxLinks; ++i) {
    const std::string folder = at.parent_path().string(), name = at.filename().string();
    const bool number = !name.empty() && name.size() < 9 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    if (number && (folder == "/proc/self/fd" || folder == "/dev/fd")) return std::stoi(name);
    if (!std::filesystem::is_symlink(at, ignored)) return -1;
    const auto next = std::filesystem::read_symlink(at, ignored);
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  return -1;
}

/// What users write follows their umask, as with any other program. Read once: to read it is to set
/// it, for all threads.
mode_t usual_mode() {
  static const mode_t mask = [] {
    const mode_t old = ::umask(0);
    ::umask(old);
    return old;
  }();
  return 0666 & ~mask;
}

/// Makes and opens a temporary for `target`; `descriptor` is below 0 with errno where that fails.
/// It is locked as long as it is open: so remove_left_temporaries knows that its process lives.
std::filesystem::path make_temporary(const std::filesystem::path& target, int& descriptor) {
  for (;;) {
    std::string name = (target.parent_path() / temporary_stem(target)).string();
    name += kPattern;
    descriptor = ::mkostemps(name.data(), kSuffix, O_CLOEXEC);
    if (descriptor < 0) return {};
    // Disks without locks refuse; then nobody removes it either.
    while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) continue;
    struct stat status {};
    if (::fstat(descriptor, &status) != 0 || status.st_nlink > 0) return name;
    ::close(descriptor);  // taken for a dead one's before the lock was there
  }
}

/// Whether a name ends as kPattern does, with letters of mkostemps.
bool is_temporary(std::string_view name) {
  if (name.size() < kPattern.size() || !name.ends_with(".tmp")) return false;
  const std::string_view end = name.substr(name.size() - kPattern.size());
  const std::string_view letters = end.substr(1, kPattern.size() - 1 - kSuffix);
  return end[0] == '.' && std::all_of(letters.begin(), letters.end(),
                                      [](unsigned char c) { return std::isalnum(c) != 0; });
}

std::filesystem::path folder_of(const std::filesystem::path& target) {
  return target.has_parent_path() ? target.parent_path() : ".";
}

std::vector<std::string> temporaries_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code failed;
  std::filesystem::directory_iterator entry(folder, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    std::string name = entry->path().filename().string();
    if (is_temporary(name)) names.push_back(std::move(name));
  }
  return names;
}

/// The same when this process first asked: to read a folder of a million files for each file that
/// is written there would take longer than to write it.
const std::vector<std::string>& temporaries_first_in(const std::filesystem::path& folder) {
  static std::mutex mutex;
  static std::map<std::filesystem::path, std::vector<std::string>> known;  // its nodes don't move
  std::error_code failed;
  const auto whole = std::filesystem::absolute(folder, failed);
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = known.try_emplace(failed ? folder : whole);
  if (is_new) at->second = temporaries_in(folder);
  return at->second;
}

/// Removes those among `names` that are temporaries for `target` and no living process's.
void remove_left(const std::filesystem::path& target, const std::vector<std::string>& names) {
  const std::string stem = temporary_stem(target);
  for (const std::string& name : names) {
    if (name.size() != stem.size() + kPattern.size() || !name.starts_with(stem)) continue;
    const auto path = folder_of(target) / name;
    const int left = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (left < 0) continue;
    struct stat status {};
    if (::flock(left, LOCK_EX | LOCK_NB) == 0 && ::fstat(left, &status) == 0 &&
        S_ISREG(status.st_mode)) {
      ::unlink(path.c_str());
    }
    ::close(left);
  }
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  const int own = own_descriptor(path);
  if (own >= 0) {
    descriptor_ = ::fcntl(own, F_DUPFD_CLOEXEC, 0);
    if (descriptor_ < 0) throw_file_error(path, "can't be written");
    return;
  }
  struct stat old {};
  const bool replaces = ::stat(path.c_str(), &old) == 0;
  if (replaces && S_ISDIR(old.st_mode)) {
    throw std::runtime_error(path.string() + ": can't be written: it is a folder");
  }
  if (replaces && !S_ISREG(old.st_mode)) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) throw_file_error(path, "can't be written");
    return;
  }
  target_ = without_links(path);
  remove_left(target_, temporaries_first_in(folder_of(target_)));
  temporary_ = make_temporary(target_, descriptor_);
  if (descriptor_ < 0) throw_file_error(path, "can't be written");
  if (replaces && (old.st_uid != ::geteuid() || old.st_gid != ::getegid())) {
    // Only root may give files away; others go on as the new owner.
    [[maybe_unused]] const int given = ::fchown(descriptor_, old.st_uid, old.st_gid);
  }
  // Where modes can't be set (some network and USB disks), files have the disk's.
  constexpr mode_t kPermissions = 0777;
  [[maybe_unused]] const int set =
      ::fchmod(descriptor_, replaces ? old.st_mode & kPermissions : usual_mode());
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  write_all(path_, descriptor_, static_cast<const char*>(bytes), count);
}

void AtomicFile::commit() {
  if (temporary_.empty()) {
    if (::close(std::exchange(descriptor_, -1)) != 0) throw_file_error(path_, "can't be written");
    return;
  }
  flush(path_, descriptor_);
  const auto folder = folder_of(target_);
  const Descriptor folder_descriptor(folder, O_RDONLY | O_DIRECTORY);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw_file_error(path_, "can't be replaced");
  }
  ::close(std::exchange(descriptor_, -1));
  // Without this a power cut may bring the old file back. It is no reason to throw: the new file is
  // what everybody reads from now on.
  if (::fsync(folder_descriptor) != 0) {
    log(LogLevel::kWarning,
        folder.string() + ": can't be flushed to the disk: " + std::strerror(errno));
  }
}

void remove_left_temporaries(const std::filesystem::path& path) {
  const std::filesystem::path target = without_links(path);
  remove_left(target, temporaries_in(folder_of(target)));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void append_line(const std::filesystem::path& path, std::string_view line) {
  const Descriptor descriptor(path, O_WRONLY | O_CREAT | O_APPEND);
  write_all(path, descriptor, line.data(), line.size());
  flush(path, descriptor);
}

void keep_lines(const std::filesystem::path& path, std::size_t lines) {
  constexpr std::size_t kMaxLog = std::size_t{1} << 30;
  const auto bytes = read_file(path, kMaxLog);
  std::size_t end = 0;
  while (end < bytes.size() && lines > 0) lines -= bytes[end++] == '\n';
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), end});
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor descriptor(path, O_RDONLY | O_NONBLOCK);
  size_ = std::size_t(regular_file(path, descriptor).st_size);
  if (size_ == 0) return;  // nothing to map
  void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (memory == MAP_FAILED) throw_file_error(path, "can't be mapped");
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) {
  static const auto page = std::uintptr_t(::sysconf(_SC_PAGESIZE));
  if (part.empty()) return;
  const std::size_t inside = reinterpret_cast<std::uintptr_t>(part.data()) % page;
  // The pages at both ends may hold neighbours, which are as unchanged as the part. Advice: it can fail.
  ::madvise(const_cast<std::byte*>(part.data() - inside), part.size() + inside, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

RandomAccessFile::RandomAccessFile(const std::filesystem::path& path) {
  Descriptor descriptor(path, O_RDONLY | O_NONBLOCK);
  size_ = std::size_t(regular_file(path, descriptor).st_size);
  descriptor_ = descriptor.release();
}

RandomAccessFile::~RandomAccessFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RandomAccessFile::RandomAccessFile(RandomAccessFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(std::exchange(other.size_, 0)) {}

RandomAccessFile& RandomAccessFile::operator=(RandomAccessFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

bool RandomAccessFile::read(std::size_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t some = ::pread(descriptor_, into.data(), into.size(), off_t(offset));
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return false;
    offset += std::size_t(some);
    into = into.subspan(std::size_t(some));
  }
  return true;
}

}  // namespace hh
