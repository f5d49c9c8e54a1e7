#include "broker/verified_token.h"

#include <openssl/crypto.h>

#include <utility>

namespace mintfs::broker {

void VerifiedToken::set(std::string_view token, const ParsedToken& parsed, const LeaseKey& key) {
  const Claims& from = parsed.claims;
  const char* const begin = parsed.payload.data();
  Secret copy(token);
  token_ = Secret();                                        // none, should there be no memory for the payload
  payload_.assign(begin, from.id.data() + from.id.size());  // jti is the last of them
  const auto own = [&](std::string_view text) {
    return std::string_view(payload_.data() + (text.data() - begin), text.size());
  };
  claims_ = {.audience = own(from.audience),
             .subject = own(from.subject),
             .lease = own(from.lease),
             .connector = own(from.connector),
             .issued = from.issued,
             .expires = from.expires,
             .id = own(from.id)};
  key_ = key;
  kid_ = parsed.kid;
  token_ = std::move(copy);
}

bool VerifiedToken::was_signed_with(std::uint32_t kid, const LeaseKey& key) const noexcept {
  const std::string_view mine = key_.reveal();
  return kid == kid_ && CRYPTO_memcmp(mine.data(), key.reveal().data(), mine.size()) == 0;
}

}  // namespace mintfs::broker
