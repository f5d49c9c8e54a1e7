#include "kube/desk_client.h"

#include "kube/connection.h"

#include <utility>

namespace mintfs::kube {

namespace asio = boost::asio;

DeskClient::DeskClient(asio::io_context& context, broker::Address gateway, const std::filesystem::path& ca_file,
                       const std::filesystem::path& token_file, Limits limits)
    : context_(context), gateway_(std::move(gateway)), trust_(ca_file), token_(token_file), limits_(limits) {}

asio::awaitable<Outcome<DeskAnswer>> DeskClient::ask(Call call) {
  const auto token = token_.get();
  if (!token) co_return token.error();
  Connection connection(context_, trust_.get(), "the gateway");
  if (auto failed = co_await connection.connect(gateway_, limits_.connect)) co_return std::move(*failed);
  const auto head = co_await connection.ask(call, gateway_, *token, limits_.exchange);
  if (!head) co_return head.error();
  const auto body = co_await connection.read_all(limits_.answer);
  if (!body) co_return body.error();
  co_return DeskAnswer{.status = static_cast<int>(head->status),
                       .body = broker::Secret(std::string_view(body->data(), body->size()))};
}

}  // namespace mintfs::kube
