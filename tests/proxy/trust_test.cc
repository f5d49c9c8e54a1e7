#include "proxy/trust.h"

#include "support/broker_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

namespace mintfs::proxy {
namespace {

using testing::HasSubstr;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

// A certificate that vouches for itself, written to `file` as PEM.
Certificate make_authority(const std::filesystem::path& file, const char* name) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Certificate made(X509_new(), X509_free);
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
  X509_set_pubkey(made.get(), key.get());
  X509_NAME* const subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(made.get(), subject);
  X509_sign(made.get(), key.get(), EVP_sha256());
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen(file.c_str(), "w"), std::fclose);
  PEM_write_X509(out.get(), made.get());
  return made;
}

bool trusts(boost::asio::ssl::context& context, const Certificate& certificate) {
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> check(X509_STORE_CTX_new(),
                                                                              X509_STORE_CTX_free);
  X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context.native_handle()), certificate.get(), nullptr);
  return X509_verify_cert(check.get()) == 1;
}

class Trust : public testing::Test {
 protected:
  boost::asio::ssl::context context_with(const std::filesystem::path& ca_file) const {
    auto connector = test::connector("git", "https://git.example");
    connector.ca_file = ca_file;
    return make_client_context(connector);
  }
  std::string refusal(const std::filesystem::path& ca_file) const {
    try {
      context_with(ca_file);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return {};
  }

  test::TempDir directory;
  std::filesystem::path own_file = directory.path() / "own.pem", other_file = directory.path() / "other.pem";
  Certificate own = make_authority(own_file, "own"), other = make_authority(other_file, "other");
};

TEST_F(Trust, TakesNothingOlderThanTls12AndVerifies) {
  for (const auto& file : {std::filesystem::path(), own_file}) {
    const auto context = context_with(file);
    SSL_CTX* const native = const_cast<boost::asio::ssl::context&>(context).native_handle();
    EXPECT_EQ(SSL_CTX_get_min_proto_version(native), TLS1_2_VERSION);
    EXPECT_EQ(SSL_CTX_get_max_proto_version(native), 0) << "the newest that OpenSSL has";
    EXPECT_EQ(SSL_CTX_get_verify_mode(native), SSL_VERIFY_PEER);
  }
}

TEST_F(Trust, IsInTheAuthoritiesOfTheFileAlone) {
  // What OpenSSL takes for the system's: they must not count where a file is named.
  ASSERT_EQ(setenv("SSL_CERT_FILE", other_file.c_str(), 1), 0);
  auto named = context_with(own_file), system = context_with({});
  EXPECT_TRUE(trusts(named, own));
  EXPECT_FALSE(trusts(named, other));
  EXPECT_TRUE(trusts(system, other));
  EXPECT_FALSE(trusts(system, own));
  unsetenv("SSL_CERT_FILE");
}

TEST_F(Trust, InAFileThatHoldsNoneIsRefusedWithOneSentence) {
  const auto file = directory.path() / "wrong.pem";
  EXPECT_THAT(refusal(file), testing::AllOf(HasSubstr(file.string()), HasSubstr("must be a PEM file")));
  for (const char* content : {"", "not a certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n"}) {
    std::ofstream(file) << content;
    EXPECT_THAT(refusal(file), HasSubstr(file.string())) << content;
  }
}

}  // namespace
}  // namespace mintfs::proxy
