// What it costs to copy a node's vnodes into another database, by pages or by files (docs/adr/0010-refill-by-pages.md).
//
//   copy_vnodes SOURCE_DB DESTINATION_DIRECTORY pages   as refill does it: read a page, write it as one batch, with its
//   log copy_vnodes SOURCE_DB DESTINATION_DIRECTORY files   an SST file for each vnode, moved through a pipe, and
//   ingested
//
// Objects only, in one thread, without a network or actors: the least that each of the two costs. Keys get another
// prefix, as in the product, where a copy is made in the vnode's second place (so files of the source cannot be taken
// as they are).
#include "storage/rocksdb_open.hpp"

#include <rocksdb/sst_file_writer.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

namespace {

using namespace crema::storage;

constexpr size_t page_bytes = size_t{256} << 10;
constexpr size_t pipe_bytes = size_t{64} << 10;

void expect(const rocksdb::Status& s) {
  if (!s.ok()) {
    std::cerr << "copy_vnodes: " << s.ToString() << "\n";
    std::exit(EXIT_FAILURE);
  }
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// What this process has written to files, as the kernel counts it.
uint64_t written_bytes() {
  std::ifstream in{"/proc/self/io"};
  std::string name;
  uint64_t number = 0;
  while (in >> name >> number)
    if (name == "write_bytes:")
      return number;
  return 0;
}

std::string in_second_place(const rocksdb::Slice& key) {
  auto result = key.ToString();
  result[2] = static_cast<char>(result[2] | '\x80');
  return result;
}

std::unique_ptr<database> opened(const std::string& path, bool create) {
  auto result = open_database(path, {}, create);
  if (!result.opened) {
    std::cerr << "copy_vnodes: " << result.what.error << "\n";
    std::exit(EXIT_FAILURE);
  }
  return std::move(result.opened);
}

void copy_pages(database& from, database& to, uint64_t& bytes) {
  std::unique_ptr<rocksdb::Iterator> i{from.db->NewIterator({}, from.families[cf_data])};
  rocksdb::WriteBatch page;
  for (i->SeekToFirst(); i->Valid(); i->Next()) {
    bytes += i->key().size() + i->value().size();
    expect(page.Put(to.families[cf_data], in_second_place(i->key()), i->value()));
    if (page.GetDataSize() < page_bytes)
      continue;
    expect(to.db->Write({}, &page));
    page.Clear();
  }
  expect(i->status());
  expect(to.db->Write({}, &page));
}

/// Over a pipe, as over a network.
void move_file(const std::string& from, const std::string& to) {
  int ends[2];
  if (pipe(ends) != 0)
    std::exit(EXIT_FAILURE);
  std::thread sender([&] {
    std::ifstream in{from, std::ios::binary};
    std::string buffer(pipe_bytes, '\0');
    while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
      if (write(ends[1], buffer.data(), static_cast<size_t>(in.gcount())) < 0)
        std::exit(EXIT_FAILURE);
    close(ends[1]);
  });
  auto out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  std::string buffer(pipe_bytes, '\0');
  for (ssize_t got = 0; (got = read(ends[0], buffer.data(), buffer.size())) > 0;)
    if (write(out, buffer.data(), static_cast<size_t>(got)) != got)
      std::exit(EXIT_FAILURE);
  fdatasync(out);
  close(out);
  close(ends[0]);
  sender.join();
  std::filesystem::remove(from);
}

void copy_files(database& from, database& to, uint64_t& bytes) {
  auto options = to.db->GetOptions(to.families[cf_data]);
  auto made = to.path + "-made.sst", moved = to.path + "-moved.sst";
  std::unique_ptr<rocksdb::Iterator> i{from.db->NewIterator({}, from.families[cf_data])};
  for (i->SeekToFirst(); i->Valid();) {
    auto vnode = i->key().ToString().substr(0, 4);
    rocksdb::SstFileWriter file{rocksdb::EnvOptions{}, options, to.families[cf_data]};
    expect(file.Open(made));
    for (; i->Valid() && i->key().starts_with(vnode); i->Next()) {
      bytes += i->key().size() + i->value().size();
      expect(file.Put(in_second_place(i->key()), i->value()));
    }
    expect(file.Finish());
    move_file(made, moved);
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    expect(to.db->IngestExternalFile(to.families[cf_data], {moved}, ingest));
  }
  expect(i->status());
}

void wait_for_background(database& x) {
  expect(x.db->Flush({}, x.families[cf_data]));
  for (bool busy = true; busy;) {
    std::this_thread::sleep_for(std::chrono::milliseconds{200});
    busy = false;
    for (const auto* name :
         {"rocksdb.num-running-compactions", "rocksdb.compaction-pending", "rocksdb.num-running-flushes"}) {
      uint64_t count = 0;
      busy |= x.db->GetIntProperty(x.families[cf_data], name, &count) && count > 0;
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "copy_vnodes SOURCE_DB DESTINATION_DIRECTORY pages|files\n";
    return EXIT_FAILURE;
  }
  auto from = opened(argv[1], false), to = opened(argv[2], true);
  uint64_t bytes = 0;
  auto begun = std::chrono::steady_clock::now();
  auto cpu = cpu_seconds();
  auto written = written_bytes();
  auto tell = [&](const char* when) {
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    auto mb = static_cast<double>(bytes) / 1e6;
    std::cout << argv[3] << ", " << when << ": " << mb << " MB in " << took.count() << " s (" << mb / took.count()
              << " MB/s), CPU " << (cpu_seconds() - cpu) / mb * 1000 << " ms/MB, written "
              << static_cast<double>(written_bytes() - written) / static_cast<double>(bytes) << " x\n";
  };
  if (std::string{argv[3]} == "files")
    copy_files(*from, *to, bytes);
  else
    copy_pages(*from, *to, bytes);
  tell("copied");
  wait_for_background(*to);
  tell("and compacted");
  return EXIT_SUCCESS;
}
