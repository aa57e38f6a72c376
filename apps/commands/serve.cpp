// SPDX-License-Identifier: Apache-2.0
// hybridhash serve: search by pictures in a browser, and by HTTP from programs.
#include "apps/serve/serve.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "apps/commands/command.h"

namespace hh::apps {
namespace {

struct Options {
  std::string index, model, host = "127.0.0.1", token, token_file, dtype = "f32", method = "auto";
  int port = 8080;
  HttpLimits limits;
  double max_body_mib = 32, max_megapixels = 50;
  ServerOptions server;
  ComputeOptions compute;
};

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "localhost" || host == "::1";
}

std::string read_token(const Options& o) {
  std::string token = o.token;
  if (!o.token_file.empty()) {
    std::ifstream file(o.token_file);
    HH_REQUIRE(file && std::getline(file, token) && !token.empty(),
               o.token_file << ": there is no token in its first line");
  } else if (const char* value = std::getenv("HH_SERVE_TOKEN"); value && token.empty()) {
    token = value;
  }
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 127; });
  HH_REQUIRE(printable, "the token must be of printable ASCII characters without blanks");
  return token;
}

void run(const Options& o) {
  const Device device = o.compute.apply();
  catch_stop_signals();
  std::signal(SIGPIPE, SIG_IGN);
  HttpLimits limits = o.limits;
  limits.body = std::size_t(o.max_body_mib * (1 << 20));
  ServerOptions options = o.server;
  options.token = read_token(o);
  options.loopback = is_loopback(o.host);
  options.max_pixels = std::int64_t(o.max_megapixels * 1e6);
  options.seconds = limits.seconds;
  std::unique_ptr<pipeline::Model> model;
  if (!o.model.empty()) {
    model = pipeline::load_model(o.model, device, activation_dtype(o.dtype));
  }
  ServedIndex index(o.index, std::min(5., limits.seconds), o.method);
  Server application(index, std::move(model), options);
  HttpServer server(application, limits);
  const int port = server.bind(o.host, o.port);
  const bool v6 = o.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + o.host + "]" : o.host;
  fmt::print("{} items of {} bits at http://{}:{}/\n", index.state()->index.count(),
             index.state()->index.bits(), host, port);
  std::fflush(stdout);
  server.run(stop_requested);
}

}  // namespace

void add_serve(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("serve", "Search an index in a browser, or by HTTP from programs");
  command->add_option("--index", options->index, "folder of the index")
      ->required()
      ->check(CLI::ExistingDirectory);
  command
      ->add_option("--model", options->model,
                   "model that made the index's codes; without it pictures can't be searched")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--method", options->method,
                   "scan; multi-index: the same answers by tables, built at the start; auto: by "
                   "tables, once they are built, where they are measured to be twice as fast")
      ->check(CLI::IsMember({"auto", "scan", "multi-index"}))
      ->capture_default_str();
  command
      ->add_option("--host", options->host, "address to listen on; 0.0.0.0: all of the machine's")
      ->capture_default_str();
  command->add_option("--port", options->port, "0: any that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--token", options->token,
                      "what adding and deleting take (better: --token-file, or HH_SERVE_TOKEN)");
  command->add_option("--token-file", options->token_file, "file with the token in its first line")
      ->check(CLI::ExistingFile);
  command->add_flag("--read-only", options->server.read_only, "refuse to add and delete");
  command->add_option("--image-root", options->server.image_root,
                      "what the items' paths start from, for their pictures");
  command->add_flag("--exif", options->server.exif, "turn photographs as their EXIF data says");
  command->add_option("--max-body", options->max_body_mib, "largest request, MiB")
      ->check(CLI::Range(.001, 4096.))
      ->capture_default_str();
  command
      ->add_option("--max-pixels", options->max_megapixels, "largest picture, millions of pixels")
      ->check(CLI::Range(.0001, 1000.))
      ->capture_default_str();
  command
      ->add_option("--max-concurrent", options->limits.concurrent,
                   "connections served at once; others are told to come back")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--timeout", options->limits.seconds,
                   "seconds for a request to arrive, and for its answer to be taken")
      ->check(CLI::Range(.1, 3600.))
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "f32 or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  options->compute.add_to(*command);
  add_examples(*command,
               "  hybridhash serve --index photos.index --model runs/mine/best.safetensors\n"
               "  hybridhash serve --index photos.index --model m.safetensors --host 0.0.0.0 "
               "--token-file token.txt\n");
  command->callback([options] { run(*options); });
}

}  // namespace hh::apps
