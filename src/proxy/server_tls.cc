#include "proxy/server_tls.h"

#include "broker/secret.h"
#include "broker/state_file.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <new>
#include <stdexcept>
#include <string_view>

namespace mintfs::proxy {
namespace {

constexpr std::size_t kMaxAuthorities = 256 * 1024;

struct Free {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};

std::string last_reason() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "unknown" : reason;
}

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& file, const std::string& why) {
  throw std::runtime_error(what + " " + file.string() + " cannot be used: " + why);
}

// The protocol that is spoken here, where the client names it (RFC 7301); others go on without.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void*) {
  static constexpr std::string_view kHttp = "http/1.1";
  std::string_view rest(reinterpret_cast<const char*>(offered), offered_size);
  while (!rest.empty()) {
    const auto length = std::min<std::size_t>(static_cast<unsigned char>(rest.front()), rest.size() - 1);
    if (rest.substr(1, length) == kHttp) {
      *out = reinterpret_cast<const unsigned char*>(rest.data() + 1);
      *size = static_cast<unsigned char>(length);
      return SSL_TLSEXT_ERR_OK;
    }
    rest.remove_prefix(1 + length);
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// Read by us, since OpenSSL would ask nobody whether others can read it.
void use_key(SSL_CTX* context, const std::filesystem::path& file) {
  const broker::Secret text = broker::read_secret_file(file);
  const std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(text.reveal().data(), static_cast<int>(text.size())));
  const std::string no_password;
  const std::unique_ptr<EVP_PKEY, Free> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, const_cast<char*>(no_password.c_str())));
  if (!key) fail("tls_key", file, "it is no private key in PEM without a password (" + last_reason() + ")");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
    fail("tls_key", file, "it is not the key of tls_certificate (" + last_reason() + ")");
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text(kMaxAuthorities + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.empty()) fail("tls_ca", file, "it is empty or cannot be read");
  if (text.size() > kMaxAuthorities) fail("tls_ca", file, "it is over 256 KiB");
  return text;
}

std::string to_pem(X509* certificate) {
  const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  char* data = nullptr;
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) throw std::bad_alloc();
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// Nothing but certificates may be in there: it is handed to every job.
std::string read_authorities(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  const std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  std::string pem;
  while (const std::unique_ptr<X509, Free> certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)})
    pem += to_pem(certificate.get());
  ERR_clear_error();
  if (pem.empty()) fail("tls_ca", file, "it holds no certificate in PEM");
  return pem;
}

}  // namespace

ServerTls::ServerTls(Files files) : files_(std::move(files)), used_(versions()), reported_(used_) {
  *loaded_.lock() = load(files_);
}

ServerTls::Loaded ServerTls::load(const Files& files) {
  if (files.certificate.empty()) return {};
  ERR_clear_error();
  const ContextPtr context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // clients keep their tickets
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1)
    fail("tls_certificate", files.certificate,
         "it is no certificate in PEM that the daemon can read (" + last_reason() + ")");
  use_key(context.get(), files.key);

  Loaded loaded{.context = context, .authorities = nullptr};
  X509* const own = SSL_CTX_get0_certificate(context.get());
  if (!files.authorities.empty())
    loaded.authorities = std::make_shared<const std::string>(read_authorities(files.authorities));
  else if ((X509_get_extension_flags(own) & EXFLAG_SS) != 0)
    loaded.authorities = std::make_shared<const std::string>(to_pem(own));
  return loaded;
}

ServerTls::ContextPtr ServerTls::current() { return loaded_.lock()->context; }

std::shared_ptr<const std::string> ServerTls::authorities() { return loaded_.lock()->authorities; }

ServerTls::Versions ServerTls::versions() const {
  using broker::FileVersion;
  return {FileVersion::of(files_.certificate), FileVersion::of(files_.key), FileVersion::of(files_.authorities)};
}

bool ServerTls::refresh(const std::function<void(std::string)>& report) {
  const Versions now = versions();
  if (now == used_) return false;
  try {
    Loaded next = load(files_);
    auto loaded = loaded_.lock();
    if (!next.authorities != !loaded->authorities)
      throw std::runtime_error(
          "what the open views say of whom to trust would be wrong; restart mintfsd, or name "
          "the same tls_ca");
    const bool same = !next.authorities || *next.authorities == *loaded->authorities;
    *loaded = std::move(next);
    used_ = reported_ = now;
    report("the certificate of the https listeners was read again");
    return !same;
  } catch (const std::exception& error) {
    // Certificate and key are rarely replaced at one moment: tried again each time, told once.
    if (now == reported_) return false;
    reported_ = now;
    report(std::string("the former certificate serves on: ") + error.what());
    return false;
  }
}

}  // namespace mintfs::proxy
