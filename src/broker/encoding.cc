#include "broker/encoding.h"

#include <array>
#include <cstdint>

namespace mintfs::broker {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::uint8_t kInvalid = 0xff;

constexpr std::array<std::uint8_t, 256> inverse(std::string_view alphabet) {
  std::array<std::uint8_t, 256> table{};
  table.fill(kInvalid);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  return table;
}

constexpr auto kFromBase64 = inverse(kBase64);
constexpr auto kFromBase64Url = inverse(kBase64Url);
constexpr auto kFromHex = inverse(kHex);

std::uint32_t byte_at(std::string_view in, std::size_t i) { return static_cast<unsigned char>(in[i]); }

// The unpadded encoding that both alphabets share; returns the end of what was written.
char* encode(std::string_view in, char* out, std::string_view alphabet) {
  std::size_t i = 0;
  for (; i + 3 <= in.size(); i += 3) {
    const std::uint32_t group = byte_at(in, i) << 16 | byte_at(in, i + 1) << 8 | byte_at(in, i + 2);
    *out++ = alphabet[group >> 18];
    *out++ = alphabet[group >> 12 & 63];
    *out++ = alphabet[group >> 6 & 63];
    *out++ = alphabet[group & 63];
  }
  const std::size_t rest = in.size() - i;
  if (rest == 0) return out;
  const std::uint32_t group = byte_at(in, i) << 16 | (rest == 2 ? byte_at(in, i + 1) << 8 : 0);
  *out++ = alphabet[group >> 18];
  *out++ = alphabet[group >> 12 & 63];
  if (rest == 2) *out++ = alphabet[group >> 6 & 63];
  return out;
}

std::optional<std::size_t> decode(std::string_view in, char* out, const std::array<std::uint8_t, 256>& table) {
  const std::size_t rest = in.size() % 4;
  if (rest == 1) return std::nullopt;
  char* const begin = out;
  // Bounds are the loops' own; checked accesses would cost more than the decoding.
  const auto* const bytes = reinterpret_cast<const unsigned char*>(in.data());
  const std::uint8_t* const values = table.data();
  const auto value_at = [=](std::size_t i) -> std::uint32_t { return values[bytes[i]]; };
  std::uint32_t seen = 0;  // a value with its seventh bit set is none
  std::size_t i = 0;
  for (; i + 4 <= in.size(); i += 4) {
    const std::uint32_t a = value_at(i), b = value_at(i + 1), c = value_at(i + 2), d = value_at(i + 3);
    seen |= a | b | c | d;
    const std::uint32_t group = a << 18 | b << 12 | c << 6 | d;
    *out++ = static_cast<char>(group >> 16);
    *out++ = static_cast<char>(group >> 8);
    *out++ = static_cast<char>(group);
  }
  std::uint32_t group = 0;
  for (; i < in.size(); ++i) {
    seen |= value_at(i);
    group = group << 6 | (value_at(i) & 63);
  }
  if ((seen & 64) != 0) return std::nullopt;
  if (rest == 2) {
    if ((group & 0xf) != 0) return std::nullopt;
    *out++ = static_cast<char>(group >> 4);
  } else if (rest == 3) {
    if ((group & 0x3) != 0) return std::nullopt;
    *out++ = static_cast<char>(group >> 10);
    *out++ = static_cast<char>(group >> 2);
  }
  return static_cast<std::size_t>(out - begin);
}

}  // namespace

char* base64_encode(std::string_view in, char* out) noexcept {
  out = encode(in, out, kBase64);
  for (std::size_t rest = in.size() % 3; rest != 0 && rest < 3; ++rest) *out++ = '=';
  return out;
}

std::string base64_encode(std::string_view in) {
  std::string out(base64_size(in.size()), '\0');
  base64_encode(in, out.data());
  return out;
}

std::optional<std::string> base64_decode(std::string_view in) {
  if (in.size() % 4 != 0) return std::nullopt;
  for (int padding = 0; padding < 2 && in.ends_with('='); ++padding) in.remove_suffix(1);
  std::string out(in.size() * 3 / 4, '\0');
  const auto size = decode(in, out.data(), kFromBase64);
  if (!size) return std::nullopt;
  out.resize(*size);
  return out;
}

char* base64url_encode(std::string_view in, char* out) noexcept { return encode(in, out, kBase64Url); }

std::string base64url_encode(std::string_view in) {
  std::string out(base64url_size(in.size()), '\0');
  base64url_encode(in, out.data());
  return out;
}

std::optional<std::size_t> base64url_decode(std::string_view in, char* out) noexcept {
  return decode(in, out, kFromBase64Url);
}

std::string base32_encode(std::string_view in) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    bits = bits << 8 | byte_at(in, i);
    for (held += 8; held >= 5; held -= 5) out += kBase32[bits >> (held - 5) & 31];
  }
  if (held > 0) out += kBase32[bits << (5 - held) & 31];
  return out;
}

std::string hex_encode(std::string_view in) {
  std::string out;
  out.reserve(in.size() * 2);
  for (std::size_t i = 0; i < in.size(); ++i) {
    out += kHex[byte_at(in, i) >> 4];
    out += kHex[byte_at(in, i) & 15];
  }
  return out;
}

std::optional<std::string> hex_decode(std::string_view in) {
  if (in.size() % 2 != 0) return std::nullopt;
  std::string out;
  out.reserve(in.size() / 2);
  for (std::size_t i = 0; i < in.size(); i += 2) {
    const auto high = kFromHex[byte_at(in, i)];
    const auto low = kFromHex[byte_at(in, i + 1)];
    if (high == kInvalid || low == kInvalid) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

}  // namespace mintfs::broker
