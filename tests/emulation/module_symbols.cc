#include "module_symbols.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>

namespace nanochat::emulation {

namespace {

// kernel_language.h tags the names of shared variables with it.
constexpr const char* kSharedTag = "B11cuda_shared";

struct Symbols {
  std::map<const void*, std::string> functions;
  std::vector<SharedVariable> shared;
};

std::vector<char> read_own_file(const Dl_info& own) {
  std::ifstream file(own.dli_fname, std::ios::binary);
  if (!file) file.open("/proc/self/exe", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Symbols read_symbols() {
  Symbols symbols;
  Dl_info own{};
  if (dladdr(reinterpret_cast<const void*>(&read_symbols), &own) == 0) return symbols;
  const std::vector<char> file = read_own_file(own);
  Elf64_Ehdr header{};
  if (file.size() < sizeof header) return symbols;
  std::memcpy(&header, file.data(), sizeof header);
  const uintptr_t base = header.e_type == ET_DYN ? reinterpret_cast<uintptr_t>(own.dli_fbase) : 0;
  const auto section_at = [&](size_t i) {
    Elf64_Shdr section{};
    std::memcpy(&section, file.data() + header.e_shoff + i * header.e_shentsize, sizeof section);
    return section;
  };
  for (size_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr section = section_at(i);
    if (section.sh_type != SHT_SYMTAB) continue;
    const char* const names = file.data() + section_at(section.sh_link).sh_offset;
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= section.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol{};
      std::memcpy(&symbol, file.data() + section.sh_offset + at, sizeof symbol);
      if (symbol.st_shndx == SHN_UNDEF) continue;
      const char* const name = names + symbol.st_name;
      auto* const address = reinterpret_cast<unsigned char*>(base + symbol.st_value);
      const unsigned type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_FUNC) symbols.functions.emplace(address, name);
      if (type == STT_OBJECT && std::strstr(name, kSharedTag) != nullptr) {
        symbols.shared.push_back({address, symbol.st_size});
      }
    }
  }
  return symbols;
}

const Symbols& symbols() {
  static const Symbols& read = *new Symbols(read_symbols());
  return read;
}

}  // namespace

std::string name_of_function(const void* address) {
  const auto found = symbols().functions.find(address);
  if (found == symbols().functions.end()) {
    char text[32];
    std::snprintf(text, sizeof text, "at %p", address);
    return text;
  }
  int status = 0;
  char* const readable = abi::__cxa_demangle(found->second.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? readable : found->second;
  std::free(readable);
  return name;
}

const std::vector<SharedVariable>& shared_variables() { return symbols().shared; }

}  // namespace nanochat::emulation
