// SPDX-License-Identifier: Apache-2.0
// hybridhash serve: search by pictures in a browser, and by HTTP from programs.
#include "apps/serve/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "apps/commands/command.h"
#include "apps/commands/engine_options.h"
#include "apps/terminal/shown_text.h"
#include "apps/terminal/standard_streams.h"

namespace hh::apps {
namespace {

struct Options {
  std::string token, token_file, read_token_file, dtype = "f32", unix_mode = "660";
  double max_body_mib = 32, max_megapixels = 50;
  ServeOptions serve;
  ComputeOptions compute;
  EngineOptions engine;
};

/// Of the command line, else of a file, else of a variable of the environment.
std::string token_of(std::string token, const std::string& token_file, const char* variable) {
  if (!token_file.empty()) {
    std::ifstream file(token_file);
    HH_REQUIRE(file && std::getline(file, token) && !token.empty(),
               token_file << ": there is no token in its first line");
  } else if (const char* value = std::getenv(variable); value && token.empty()) {
    token = value;
  }
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 127; });
  HH_REQUIRE(printable, "the token must be of printable ASCII characters without blanks");
  return token;
}

mode_t mode_of(const std::string& text) {
  unsigned mode = 0;
  const char* const end = text.data() + text.size();
  constexpr int kOctal = 8;
  constexpr unsigned kMost = 0777;
  const auto read = std::from_chars(text.data(), end, mode, kOctal);
  HH_REQUIRE(read.ec == std::errc() && read.ptr == end && mode <= kMost,
             "--unix-mode " << text << ": use up to three octal digits, such as 660");
  return mode;
}

void run(const Options& o) {
  ServeOptions options = o.serve;
  HH_REQUIRE(options.index.empty() == o.engine.given(),
             "what to serve? Give --index, or --engine and --collection");
  if (o.engine.given()) {
    HH_REQUIRE(options.method == "auto",
               "--method " << options.method << " is for --index: another server searches its way");
    options.collection = o.engine.place();
  }
  options.device = o.compute.apply();
  options.type = network_type(o.dtype);
  options.limits.body = std::size_t(o.max_body_mib * (1 << 20));
  options.unix_mode = mode_of(o.unix_mode);
  options.api.access.token = token_of(o.token, o.token_file, "HH_SERVE_TOKEN");
  options.api.access.read_token = token_of("", o.read_token_file, "HH_SERVE_READ_TOKEN");
  options.api.max_pixels = std::int64_t(o.max_megapixels * 1e6);
  catch_stop_signals();
  std::signal(SIGPIPE, SIG_IGN);
  // What rotates logs may send it; the log is found anew without.
  if (!options.access_log.empty()) std::signal(SIGHUP, SIG_IGN);
  // With --port 0 nobody would ever find a server whose address wasn't printed.
  serve(options, stop_requested, [](const std::string& line) {
    if (print_now(shown_text(line))) return;
    throw std::runtime_error(std::string("the output can't be written: ") + std::strerror(errno));
  });
}

/// Refuses what a variable that isn't set gives.
TextCheck named() {
  return {[](const std::string& path) { return std::string(path.empty() ? "it is empty" : ""); },
          ""};
}

/// Where it listens.
void add_listening(Command command, Options& options) {
  Option host = command
                    .add_option("--host", options.serve.host,
                                "address to listen on; 0.0.0.0: all of the machine's")
                    .capture_default_str();
  Option port = command.add_option("--port", options.serve.port, "0: any that is free")
                    .check(within(0, 65535))
                    .capture_default_str();
  Option file =
      command
          .add_option("--unix-socket", options.serve.unix_socket,
                      "in place of --host and --port: path of a socket that proxies connect to")
          .check(named())
          .excludes(host)
          .excludes(port);
  command.add_option("--unix-mode", options.unix_mode, "who may connect to it, octal as for chmod")
      .needs(file)
      .capture_default_str();
}

}  // namespace

void add_serve(Command program) {
  auto options = std::make_shared<Options>();
  Command command =
      program.add_subcommand("serve", "Search an index in a browser, or by HTTP from programs");
  Option index = command.add_option("--index", options->serve.index, "folder of the index")
                     .check(existing_folder());
  options->engine.add_to(command, false);
  index.excludes(command.get_option("--engine"));
  command
      .add_option("--model", options->serve.model,
                  "model that made the index's codes; without it pictures can't be searched")
      .check(existing_file());
  command
      .add_option("--method", options->serve.method,
                  "scan; multi-index: the same answers by tables, built at the start; auto: by "
                  "tables, once they are built, where they are measured to be twice as fast")
      .one_of({"auto", "scan", "multi-index"})
      .capture_default_str();
  add_listening(command, *options);
  Option certificate = command
                           .add_option("--tls-cert", options->serve.tls_certificate,
                                       "PEM file with a certificate: HTTPS and no plain HTTP")
                           .check(existing_file());
  Option key = command
                   .add_option("--tls-key", options->serve.tls_key,
                               "PEM file with the certificate's key, without a passphrase")
                   .check(existing_file());
  certificate.needs(key);
  key.needs(certificate);
  command.add_option("--token", options->token,
                     "what adding and deleting take (better: --token-file, or HH_SERVE_TOKEN)");
  command.add_option("--token-file", options->token_file, "file with the token in its first line")
      .check(existing_file());
  command
      .add_option("--read-token-file", options->read_token_file,
                  "file with the token that everything takes, in its first line (or "
                  "HH_SERVE_READ_TOKEN); browsers ask for it as a password")
      .check(existing_file());
  command.add_flag("--read-only", options->serve.api.access.read_only, "refuse to add and delete");
  command.add_option("--image-root", options->serve.api.image_root,
                     "what the items' paths start from, for their pictures");
  add_exif_gone(command);
  command
      .add_option("--access-log", options->serve.access_log,
                  "file that gets a line of JSON for each answer, behind those it has; -: stdout")
      .check(named());
  command.add_option("--max-body", options->max_body_mib, "largest request, MiB")
      .check(within(.001, 4096.))
      .capture_default_str();
  command.add_option("--max-pixels", options->max_megapixels, "largest picture, millions of pixels")
      .check(within(.0001, 1000.))
      .capture_default_str();
  command
      .add_option("--max-concurrent", options->serve.limits.concurrent,
                  "connections served at once; others are told to come back")
      .check(within(1, 1024))
      .capture_default_str();
  command
      .add_option("--timeout", options->serve.limits.seconds,
                  "seconds for a request to arrive, and for its answer to be taken")
      .check(within(.1, 3600.))
      .capture_default_str();
  command.add_option("--dtype", options->dtype, "f32, bf16 or int8 (on a CPU)")
      .one_of({"f32", "bf16", "int8"})
      .capture_default_str();
  add_mix_int8(command, options->serve.api.mix_int8);
  options->compute.add_to(command);
  add_examples(
      command,
      "  hybridhash serve --index photos.index --model runs/mine/best.safetensors\n"
      "  hybridhash serve --index photos.index --model m.safetensors --host 0.0.0.0 "
      "--token-file token.txt\n"
      "  hybridhash serve --engine postgres postgresql://me@db/photos --collection photos\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps
