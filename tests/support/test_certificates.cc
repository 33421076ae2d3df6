#include "tests/support/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "server/auth/openssl_handles.h"

namespace wdelta::testing {
namespace {

constexpr int64_t kDaySeconds = 86'400;

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

void Extend(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const CertificateExtension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  ASSERT_NE(extension, nullptr) << value;
  ASSERT_EQ(X509_add_ext(certificate, extension.get(), -1), 1);
}

// A certificate with a name, a number and a time, not signed.
Certificate NewUnsigned(const std::string& name, EVP_PKEY* key) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  uint32_t number = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof(number));
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), number);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 365 * kDaySeconds);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

TestCertificate ToPem(X509* certificate, EVP_PKEY* key) {
  const Bio certificate_text(BIO_new(BIO_s_mem()));
  const Bio key_text(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_X509(certificate_text.get(), certificate), 1);
  EXPECT_EQ(PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr),
            1);
  return {TextOf(certificate_text.get()), TextOf(key_text.get())};
}

std::pair<Certificate, PrivateKey> FromPem(const TestCertificate& made) {
  const Bio certificate_text(BIO_new_mem_buf(made.certificate.data(), -1));
  const Bio key_text(BIO_new_mem_buf(made.key.data(), -1));
  return {Certificate(PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr)),
          PrivateKey(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr))};
}

void ExtendAuthority(X509* certificate, X509* issuer) {
  Extend(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
  Extend(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  Extend(certificate, issuer, NID_subject_key_identifier, "hash");
}

}  // namespace

TestCertificate NewAuthority(const std::string& name) {
  const PrivateKey key(EVP_EC_gen("P-256"));
  const Certificate certificate = NewUnsigned(name, key.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  ExtendAuthority(certificate.get(), certificate.get());
  EXPECT_GT(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);
  return ToPem(certificate.get(), key.get());
}

TestCertificate NewIntermediate(const std::string& name, const TestCertificate& parent) {
  const auto [issuer, issuer_key] = FromPem(parent);
  const PrivateKey key(EVP_EC_gen("P-256"));
  const Certificate certificate = NewUnsigned(name, key.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get()));
  ExtendAuthority(certificate.get(), issuer.get());
  Extend(certificate.get(), issuer.get(), NID_authority_key_identifier, "keyid");
  EXPECT_GT(X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()), 0);
  return ToPem(certificate.get(), key.get());
}

TestCertificate NewCertificate(const std::string& name, const TestCertificate& authority) {
  const auto [issuer, issuer_key] = FromPem(authority);
  const PrivateKey key(EVP_EC_gen("P-256"));
  const Certificate certificate = NewUnsigned(name, key.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get()));
  Extend(certificate.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
  Extend(certificate.get(), issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  Extend(certificate.get(), issuer.get(), NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  Extend(certificate.get(), issuer.get(), NID_authority_key_identifier, "keyid");
  EXPECT_GT(X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()), 0);
  return ToPem(certificate.get(), key.get());
}

}  // namespace wdelta::testing
