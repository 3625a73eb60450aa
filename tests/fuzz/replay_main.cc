// Runs a fuzz target without libFuzzer: every file of a corpus folder, then mutations of them that are the
// same in every run.
//
//   fuzz_<name> FOLDER [MUTATIONS]
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

// A sequence of numbers below a bound, from one stream of the counter-based generator.
class Choices {
 public:
  explicit Choices(uint64_t stream) : random_(0x6675'7a7a, stream) {}
  size_t below(size_t bound) {
    return bound == 0 ? 0 : static_cast<size_t>(random_.bits(position_++) % bound);
  }

 private:
  nanochat::CounterRandom random_;
  uint64_t position_ = 0;
};

void mutate_once(Bytes& input, const std::vector<Bytes>& corpus, Choices& choices) {
  const size_t at = choices.below(input.size() + 1);
  const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
  const auto rest = static_cast<std::ptrdiff_t>(std::min<size_t>(input.size() - at, 1 + choices.below(16)));
  static constexpr uint8_t kTelling[] = {0,   1,   0x7f, 0x80, 0xff, '"', '\\', '{',
                                         '}', '[', ']',  ',',  ':',  '-', '9',  'e'};
  switch (choices.below(7)) {
    case 0:  // flip a bit
      if (at < input.size()) input[at] = static_cast<uint8_t>(input[at] ^ (1U << choices.below(8)));
      break;
    case 1:  // put a byte that parsers look for
      if (at < input.size()) input[at] = kTelling[choices.below(std::size(kTelling))];
      break;
    case 2:
      input.insert(place, kTelling[choices.below(std::size(kTelling))]);
      break;
    case 3:
      input.erase(place, place + rest);
      break;
    case 4: {  // repeat a piece
      const Bytes piece(place, place + rest);
      input.insert(place, piece.begin(), piece.end());
      break;
    }
    case 5:
      input.resize(at);
      break;
    default: {  // go on as another file of the corpus
      const Bytes& other = corpus[choices.below(corpus.size())];
      const size_t from = choices.below(other.size() + 1);
      input.resize(at);
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [MUTATIONS]\n", argv[0]);
    return 2;
  }
  const std::vector<Bytes> corpus = read_corpus(argv[1]);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: no files\n", argv[1]);
    return 1;
  }
  for (const Bytes& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  const auto n_mutations = static_cast<uint64_t>(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1000);
  for (uint64_t i = 0; i < n_mutations; ++i) {
    Choices choices(i);
    Bytes input = corpus[choices.below(corpus.size())];
    for (size_t n = 1 + choices.below(8); n > 0; --n) mutate_once(input, corpus, choices);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu files, %llu mutations\n", corpus.size(), static_cast<unsigned long long>(n_mutations));
  return 0;
}
