// XXH3-128 of pieces of memory: eight lanes a piece, a lane for each of the hash's sums. A piece is a chain
// of stripes of 64 bytes, so the pieces are what runs side by side: a thousand of 1 MiB keep the memory busy.
//
// The algorithm: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, long inputs. The merge of
// the eight sums, and pieces too short to have them, are the host's.
#include <vector>

#include <hardware/ptx.h>

#include "device/launch.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

constexpr int kLanes = 8;
constexpr int64_t kStripe = 64, kStripesPerBlock = 16;
constexpr int64_t kBlock = kStripe * kStripesPerBlock;
constexpr int kSecretBytes = 192;
constexpr unsigned kThreads = 64;            // 8 pieces: many small blocks reach more multiprocessors
constexpr uint64_t kScramble = 2654435761U;  // XXH_PRIME32_1

struct HashConstants {
  uint8_t secret[kSecretBytes];
  uint64_t start[kLanes];
};

__device__ uint64_t read_64(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

// Words of a stripe that lane `lane` needs: its own, and its neighbour's, whose plain sum it keeps.
struct Words {
  uint64_t own, other;
};

// Pieces begin at multiples of 16 bytes, and so do their stripes, except the last one.
__device__ Words stripe_words(const uint8_t* stripe, int lane, bool is_aligned) {
  const uint8_t* const pair = stripe + lane / 2 * 16;
  uint64_t low = 0, high = 0;
  if (is_aligned) {
    const uint4 words = *reinterpret_cast<const uint4*>(pair);
    low = static_cast<uint64_t>(words.y) << 32 | words.x;
    high = static_cast<uint64_t>(words.w) << 32 | words.z;
  } else {
    low = read_64(pair);
    high = read_64(pair + 8);
  }
  return lane % 2 == 0 ? Words{low, high} : Words{high, low};
}

__device__ uint64_t stirred(uint64_t sum, Words words, uint64_t secret) {
  const uint64_t key = words.own ^ secret;
  return sum + words.other + (key & 0xffffffffU) * (key >> 32);
}

__global__ void hash_pieces_kernel(HashConstants constants, const uint8_t* data, int64_t n_bytes,
                                   int64_t piece_bytes, int64_t n_pieces, uint64_t* sums) {
  __shared__ uint64_t secret[kStripesPerBlock][kLanes], end_secret[kLanes], scramble_secret[kLanes];
  wait_for_earlier_kernels();
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  if (threadIdx.x < kLanes) {
    for (int stripe = 0; stripe < kStripesPerBlock; ++stripe) {
      secret[stripe][lane] = read_64(constants.secret + stripe * 8 + lane * 8);
    }
    scramble_secret[lane] = read_64(constants.secret + kSecretBytes - kStripe + lane * 8);
    end_secret[lane] = read_64(constants.secret + kSecretBytes - kStripe - 7 + lane * 8);
  }
  __syncthreads();
  const int64_t piece = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kLanes;
  if (piece >= n_pieces) return;
  const uint8_t* const bytes = data + piece * piece_bytes;
  const int64_t length = min(piece_bytes, n_bytes - piece * piece_bytes);
  uint64_t sum = constants.start[lane];
  const int64_t n_blocks = (length - 1) / kBlock;
  for (int64_t block = 0; block < n_blocks; ++block) {
    const uint8_t* const begin = bytes + block * kBlock;
    Words words[kStripesPerBlock];
#pragma unroll
    for (int i = 0; i < kStripesPerBlock; ++i) words[i] = stripe_words(begin + i * kStripe, lane, true);
#pragma unroll
    for (int i = 0; i < kStripesPerBlock; ++i) sum = stirred(sum, words[i], secret[i][lane]);
    sum = (sum ^ (sum >> 47) ^ scramble_secret[lane]) * kScramble;
  }
  const int64_t n_stripes = (length - 1 - n_blocks * kBlock) / kStripe;
  for (int64_t i = 0; i < n_stripes; ++i) {
    sum = stirred(sum, stripe_words(bytes + n_blocks * kBlock + i * kStripe, lane, true), secret[i][lane]);
  }
  sum = stirred(sum, stripe_words(bytes + length - kStripe, lane, length % 16 == 0), end_secret[lane]);
  sums[piece * kLanes + lane] = sum;
}

const KernelList kKernels{kernel_handle(hash_pieces_kernel)};

}  // namespace

void hash_pieces(Device& device, const void* data, int64_t n_bytes, int64_t piece_bytes,
                 std::span<Hash128> hashes) {
  if (hashes.empty()) return;
  CudaDevice& gpu = cuda_device(device);
  const auto n_pieces = std::ssize(hashes);
  const int64_t last_bytes = n_bytes - (n_pieces - 1) * piece_bytes;
  const int64_t n_long = last_bytes >= static_cast<int64_t>(kLeastHashSums) ? n_pieces : n_pieces - 1;
  const auto* const bytes = static_cast<const uint8_t*>(data);
  if (n_long < n_pieces) {
    std::vector<std::byte> last(static_cast<size_t>(last_bytes));
    device.copy_to_host(last.data(), bytes + n_long * piece_bytes, last.size());
    hashes.back() = hash128(last);
  }
  if (n_long == 0) return;
  HashConstants constants;
  for (int i = 0; i < kSecretBytes; ++i) {
    constants.secret[i] = static_cast<uint8_t>(hash128_secret()[static_cast<size_t>(i)]);
  }
  const HashSums start = hash128_start();
  for (size_t i = 0; i < start.size(); ++i) constants.start[i] = start[i];
  const Scratch sums(gpu, static_cast<size_t>(n_long) * sizeof(HashSums), "hashes");
  constexpr int64_t kPieces = kThreads / kLanes;
  launch(gpu, {dim3(static_cast<unsigned>((n_long + kPieces - 1) / kPieces)), kThreads}, hash_pieces_kernel,
         constants, bytes, n_bytes, piece_bytes, n_long, sums.as<uint64_t>());
  std::vector<HashSums> found(static_cast<size_t>(n_long));
  device.copy_to_host(found.data(), sums.as<uint64_t>(), found.size() * sizeof(HashSums));
  for (int64_t i = 0; i < n_long; ++i) {
    hashes[static_cast<size_t>(i)] = hash128_of_sums(
        found[static_cast<size_t>(i)], static_cast<uint64_t>(i + 1 == n_pieces ? last_bytes : piece_bytes));
  }
}

}  // namespace nanochat::cuda
