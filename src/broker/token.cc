#include "broker/token.h"

#include "broker/encoding.h"

#include <openssl/crypto.h>
#include <boost/json.hpp>

#include <charconv>
#include <cstring>

namespace mintfs::broker {
namespace {

constexpr std::string_view kHeaderBegin = R"({"alg":"HS256","kid":")";
constexpr std::string_view kHeaderEnd = R"(","typ":"JWT"})";
constexpr std::string_view kIssuer = R"({"iss":"mintfs","aud":")";
constexpr std::string_view kSubject = R"(","sub":")";
constexpr std::string_view kLease = R"(","lease":")";
constexpr std::string_view kConnector = R"(","con":")";
constexpr std::string_view kIssued = R"(","iat":)";
constexpr std::string_view kExpires = R"(,"exp":)";
constexpr std::string_view kId = R"(,"jti":")";
constexpr std::string_view kEnd = R"("})";
constexpr std::size_t kTimeSize = 10;       // digits, until the year 2286
constexpr std::size_t kSignatureSize = 43;  // base64url of 32 bytes

struct Buffer {
  std::array<char, kMaxTokenSize> bytes;
  std::size_t size = 0;

  void add(std::string_view text) {
    if (size + text.size() > bytes.size()) return;  // names and URLs are bounded far below
    std::memcpy(bytes.data() + size, text.data(), text.size());
    size += text.size();
  }
  void add(std::uint64_t number) {
    const auto [end, error] = std::to_chars(bytes.data() + size, bytes.data() + bytes.size(), number);
    if (error == std::errc()) size = static_cast<std::size_t>(end - bytes.data());
  }
  std::string_view view() const { return {bytes.data(), size}; }
};

std::size_t digits(std::uint32_t number) {
  std::size_t count = 1;
  while (number >= 10) {
    number /= 10;
    ++count;
  }
  return count;
}

std::size_t header_size(std::uint32_t kid) { return kHeaderBegin.size() + digits(kid) + kHeaderEnd.size(); }

std::size_t payload_size(const Claims& claims) {
  return kIssuer.size() + claims.audience.size() + kSubject.size() + claims.subject.size() + kLease.size() +
         claims.lease.size() + kConnector.size() + claims.connector.size() + kIssued.size() + kTimeSize +
         kExpires.size() + kTimeSize + kId.size() + kTokenIdSize + kEnd.size();
}

// Reads what mint_token wrote, from left to right.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool literal(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  // Printable characters up to the next quote; an escape never occurs in what we write.
  bool text(std::string_view& out) {
    const std::size_t end = rest_.find('"');
    if (end == std::string_view::npos) return false;
    out = rest_.substr(0, end);
    rest_.remove_prefix(end);
    for (const char c : out)
      if (c <= 0x20 || c > 0x7e || c == '\\') return false;
    return !out.empty();
  }
  template <class Number>
  bool number(Number& out) {
    if (rest_.starts_with('0') || rest_.starts_with('-')) return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out);
    if (error != std::errc()) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return true;
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// Only for the reason word: a header that is a JWT header all the same, with an algorithm of its own choice.
bool names_other_algorithm(std::string_view header) {
  boost::system::error_code error;
  const auto value = boost::json::parse(boost::json::string_view(header.data(), header.size()), error);
  if (error || !value.is_object()) return false;
  const auto* algorithm = value.as_object().if_contains("alg");
  return algorithm == nullptr || !algorithm->is_string() || algorithm->as_string() != "HS256";
}

Errc parse_header(std::string_view encoded, std::uint32_t& kid) {
  std::array<char, 256> buffer;
  if (encoded.size() > base64url_size(buffer.size())) return Errc::token_malformed;
  const auto size = base64url_decode(encoded, buffer.data());
  if (!size) return Errc::token_malformed;
  const std::string_view header(buffer.data(), *size);
  Reader reader(header);
  if (reader.literal(kHeaderBegin) && reader.number(kid) && reader.literal(kHeaderEnd) && reader.at_end())
    return Errc{};
  return names_other_algorithm(header) ? Errc::token_algorithm : Errc::token_malformed;
}

bool parse_claims(std::string_view payload, Claims& out) {
  Reader reader(payload);
  return reader.literal(kIssuer) && reader.text(out.audience) && reader.literal(kSubject) && reader.text(out.subject) &&
         reader.literal(kLease) && reader.text(out.lease) && reader.literal(kConnector) && reader.text(out.connector) &&
         reader.literal(kIssued) && reader.number(out.issued) && reader.literal(kExpires) &&
         reader.number(out.expires) && reader.literal(kId) && reader.text(out.id) && reader.literal(kEnd) &&
         reader.at_end();
}

}  // namespace

std::size_t token_size(const Claims& claims, std::uint32_t kid) {
  return base64url_size(header_size(kid)) + 1 + base64url_size(payload_size(claims)) + 1 + kSignatureSize;
}

char* mint_token(const Claims& claims, std::uint32_t kid, const LeaseKey& key, Signer& signer, char* out) {
  char* const begin = out;
  Buffer header;
  header.add(kHeaderBegin);
  header.add(std::uint64_t{kid});
  header.add(kHeaderEnd);
  out = base64url_encode(header.view(), out);
  *out++ = '.';

  Buffer payload;
  payload.add(kIssuer);
  payload.add(claims.audience);
  payload.add(kSubject);
  payload.add(claims.subject);
  payload.add(kLease);
  payload.add(claims.lease);
  payload.add(kConnector);
  payload.add(claims.connector);
  payload.add(kIssued);
  payload.add(static_cast<std::uint64_t>(claims.issued));
  payload.add(kExpires);
  payload.add(static_cast<std::uint64_t>(claims.expires));
  payload.add(kId);
  payload.add(claims.id);
  payload.add(kEnd);
  out = base64url_encode(payload.view(), out);

  const Digest signature = signer.sign(key, {begin, static_cast<std::size_t>(out - begin)});
  *out++ = '.';
  return base64url_encode({signature.data(), signature.size()}, out);
}

boost::system::error_code parse_token(std::string_view token, ParsedToken& out) {
  if (token.size() > kMaxTokenSize) return Errc::token_malformed;
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) return Errc::token_malformed;

  const Errc header = parse_header(token.substr(0, first), out.kid);
  if (header != Errc{}) return header;
  const std::string_view signature = token.substr(second + 1);
  if (signature.size() != kSignatureSize) return Errc::token_malformed;
  if (base64url_decode(signature, out.signature.data()) != out.signature.size()) return Errc::token_malformed;
  const auto size = base64url_decode(token.substr(first + 1, second - first - 1), out.payload.data());
  if (!size || !parse_claims({out.payload.data(), *size}, out.claims)) return Errc::token_malformed;
  out.signing_input = token.substr(0, second);
  return {};
}

bool is_signed_with(const ParsedToken& token, const LeaseKey& key, Signer& signer) {
  const Digest expected = signer.sign(key, token.signing_input);
  return CRYPTO_memcmp(expected.data(), token.signature.data(), expected.size()) == 0;
}

boost::system::error_code check_times(const Claims& claims, Time now) {
  const std::int64_t at = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  if (claims.issued > at + kClockSkew.count()) return Errc::token_not_yet_valid;
  if (claims.expires <= at) return Errc::token_expired;
  return {};
}

}  // namespace mintfs::broker
