// What a token costs: minted in each open of a .gitconfig, redeemed in each request of git.
#include "support/broker_fixture.h"

#include <benchmark/benchmark.h>

namespace mintfs::broker {
namespace {

const Access kAccess{.space = "default", .connector = "github", .repository = "acme/app"};

// The audit log goes to a file as it does in the daemon.
struct Bench {
  explicit Bench(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      leases.push_back(it.open(4001));
      std::string& token = tokens.emplace_back(it.broker.token_size(*leases[i], leases[i]->connectors[0]), '\0');
      it.broker.mint(*leases[i], leases[i]->connectors[0], scratch, token.data()).value();
    }
  }
  test::TestBroker it{{test::connector("github", "https://github.com", {"acme/*"})}};
  Scratch scratch;
  std::vector<LeasePtr> leases;
  std::vector<std::string> tokens;
};

void mint(benchmark::State& state) {
  Bench bench(1);
  const Lease& lease = *bench.leases[0];
  for (auto _ : state)
    benchmark::DoNotOptimize(bench.it.broker.mint(lease, lease.connectors[0], bench.scratch, bench.tokens[0].data()));
  state.counters["lost"] = static_cast<double>(bench.it.audit.lost());
}
BENCHMARK(mint);

void redeem(benchmark::State& state) {
  Bench bench(static_cast<std::size_t>(state.range(0)));
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(bench.it.broker.redeem(bench.tokens[i], kAccess, bench.scratch));
    if (++i == bench.tokens.size()) i = 0;
  }
  state.counters["lost"] = static_cast<double>(bench.it.audit.lost());
}
BENCHMARK(redeem)->ArgName("leases")->Arg(1)->Arg(2)->Arg(1000);

// As a client of many requests shows it.
void redeem_again(benchmark::State& state) {
  Bench bench(1);
  VerifiedToken last;
  for (auto _ : state) benchmark::DoNotOptimize(bench.it.broker.redeem(bench.tokens[0], kAccess, bench.scratch, &last));
}
BENCHMARK(redeem_again);

// What a client can make the proxy spend with a token that is good for nothing.
void redeem_after_close(benchmark::State& state) {
  Bench bench(1);
  bench.it.close(bench.leases[0]);
  for (auto _ : state) benchmark::DoNotOptimize(bench.it.broker.redeem(bench.tokens[0], kAccess, bench.scratch));
}
BENCHMARK(redeem_after_close);

void parse(benchmark::State& state) {
  Bench bench(1);
  for (auto _ : state) benchmark::DoNotOptimize(parse_token(bench.tokens[0], bench.scratch.token));
}
BENCHMARK(parse);

void sign(benchmark::State& state) {
  const std::string message(320, 'm');
  std::array<LeaseKey, 2> keys;
  keys[1].bytes()[0] = 1;
  Signer signer;
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(signer.sign(keys[i], message));
    if (state.range(0) == 2) i ^= 1;
  }
}
BENCHMARK(sign)->ArgName("keys")->Arg(1)->Arg(2);

void audit(benchmark::State& state) {
  Bench bench(1);
  const Lease& lease = *bench.leases[0];
  for (auto _ : state)
    bench.it.audit.write({.event = "redeem",
                          .lease = lease.id,
                          .connector = "default/github",
                          .subject = lease.subject,
                          .jti = "0123456789abcdef",
                          .operation = "fetch",
                          .repository = "acme/app"});
  state.counters["lost"] = static_cast<double>(bench.it.audit.lost());
}
BENCHMARK(audit);

void derive(benchmark::State& state) {
  Bench bench(1);
  for (auto _ : state) benchmark::DoNotOptimize(bench.it.keys.derive(1, bench.leases[0]->id));
}
BENCHMARK(derive);

}  // namespace
}  // namespace mintfs::broker

BENCHMARK_MAIN();
