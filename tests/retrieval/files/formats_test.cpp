// SPDX-License-Identifier: Apache-2.0
// Other programs' formats, and the order of bits in each.
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "retrieval/files/faiss_file.h"
#include "retrieval/files/item_files.h"
#include "retrieval/files/npy.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {

using Catch::Contains;

/// Bits 0, 9 and 15 of the first code; bits 1 to 7 of the second.
ItemSet two_items() {
  ItemSet items;
  items.set.codes = PackedCodes(2, 16);
  for (const int j : {0, 9, 15}) items.set.codes.set(0, j, true);
  for (int j = 1; j < 8; ++j) items.set.codes.set(1, j, true);
  items.set.ids = {7, 3};
  items.set.classes = 70;
  items.set.labels = {1 << 5, 1, 0, 0};
  items.set.names = {"a,\"b\"\\\n\tc.png", ""};
  items.metadata = {"", R"({"x":[1,"é"]})"};
  return items;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void require_equal(const ItemSet& a, const ItemSet& b) {
  REQUIRE(a.set.codes.bits() == b.set.codes.bits());
  REQUIRE(a.set.codes.to_bytes() == b.set.codes.to_bytes());
  REQUIRE(a.set.ids == b.set.ids);
  REQUIRE(a.set.classes == b.set.classes);
  REQUIRE(a.set.labels == b.set.labels);
  REQUIRE(a.set.names == b.set.names);
  REQUIRE(a.metadata == b.metadata);
}

TEST_CASE("codes as text: byte 0 and bit 0 come first", "[formats]") {
  const ItemSet items = two_items();
  REQUIRE(code_to_hex(items.set.codes, 0) == "0182");
  REQUIRE(code_to_bits(items.set.codes, 0) == "1000000001000001");
  REQUIRE(code_to_hex(items.set.codes, 1) == "fe00");
  for (const char* text : {"0182", "1000000001000001"}) {
    REQUIRE(parse_code(text, 16).to_bytes() == std::vector<std::uint8_t>{1, 0x82});
  }
  REQUIRE(parse_code("FE", 0).to_bytes() == std::vector<std::uint8_t>{0xfe});
  REQUIRE_THROWS_WITH(parse_code("018", 16), Contains("neither the 4 hexadecimal digits"));
  REQUIRE_THROWS_WITH(parse_code("01g2", 16), Contains("'g' isn't"));
  REQUIRE_THROWS_WITH(parse_code("1000000001000002", 16), Contains("'2' isn't a bit"));
  REQUIRE_THROWS_WITH(parse_code("", 0), Contains("2 to 128"));
}

TEST_CASE("CSV as spreadsheets save it", "[formats]") {
  const std::string rows = "id,code,labels,path\r\n5,0182,1 2,a.png\r\n6,fe00,,b.png\r\n";
  const ItemSet plain = parse_csv(rows, "a.csv");
  CHECK(plain.set.ids == std::vector<std::int64_t>{5, 6});
  require_equal(parse_csv("\xef\xbb\xbf" + rows, "a.csv"), plain);
  for (const char separator : {';', '\t'}) {
    std::string other = rows;
    std::replace(other.begin(), other.end(), ',', separator);
    require_equal(parse_csv(other, "a.csv"), plain);
    require_equal(parse_csv("\xef\xbb\xbf" + other, "a.csv"), plain);
  }
  CHECK_THROWS_WITH(parse_csv(std::string("\xff\xfei\0d\0", 6), "a.csv"), Contains("UTF-16"));
  CHECK_THROWS_WITH(parse_csv("\xef\xbb\xbf", "a.csv"), Contains("it is empty"));
}

TEST_CASE("a column of codes is read as what it is said to be", "[formats]") {
  const std::string header = "id,code\n",
                    rows =
                        "0,11111111001001110100010010011110\n1,00000000000000000000000000000001\n";
  const auto check_bits = [](const ItemSet& items) {
    CHECK(items.set.codes.bits() == 32);
    CHECK(code_to_bits(items.set.codes, 0) == "11111111001001110100010010011110");
    CHECK(code_to_bits(items.set.codes, 1) == "00000000000000000000000000000001");
  };
  // By the name of the column, by an option, or by the width of the codes that they join.
  check_bits(parse_csv("id,bits\n" + rows, "a"));
  check_bits(parse_csv(header + rows, "a", {.format = CodeFormat::kBits}));
  check_bits(parse_csv(header + rows, "a", {.bits = 32}));
  for (const ItemSet& items :
       {parse_csv("id,hex\n" + rows, "a"), parse_csv(header + rows, "a", {.bits = 128}),
        parse_csv(header + rows, "a", {.format = CodeFormat::kHex})}) {
    CHECK(items.set.codes.bits() == 128);
    CHECK(code_to_hex(items.set.codes, 1) == "00000000000000000000000000000001");
  }
  // Nothing says it: a guess would be wrong for somebody.
  for (const std::string& text :
       {header + rows, std::string("code\n0000000000000000\n"), std::string("code\n01\n")}) {
    CHECK_THROWS_WITH(parse_csv(text, "a.csv"), Contains("--code-format bits or hex"));
  }
  CHECK_THROWS_WITH(parse_csv("code\n01\n", "a.csv", {.bits = 2}), Contains("--code-format"));
  // What this program writes is hexadecimal whatever its digits.
  CHECK(parse_csv(csv_header() + "0,0000000000000001,,,\n", "a").set.codes.bits() == 64);
  // One hexadecimal digit, and the whole column is hexadecimal; an odd number of bits is none.
  CHECK(parse_csv("code\n1111111100100111\n111111110010011f\n", "a").set.codes.bits() == 64);
  CHECK(parse_csv("code\n01011\n10101\n", "a").set.codes.bits() == 5);
  // Hexadecimal for an index of codes that fill no byte.
  CHECK(parse_csv("code\nff0f\n", "a", {.bits = 12}).set.codes.bits() == 12);
  CHECK_THROWS_WITH(parse_csv("bits\n0101\n010\n", "a.csv"),
                    Contains("a.csv:3: ") && Contains("3 bits"));
  CHECK_THROWS_WITH(parse_csv("bits\n0121\n", "a.csv"), Contains("'2' isn't a bit"));
  CHECK_THROWS_WITH(parse_csv("bits\n01\n", "a.csv", {.format = CodeFormat::kHex}),
                    Contains("--code-format"));
  CHECK_THROWS_WITH(parse_csv("code,bits\n01,01\n", "a.csv"), Contains("code, hex or bits"));
  CHECK_THROWS_WITH(parse_csv("code\n0101\n01g1\n", "a.csv"),
                    Contains("a.csv:3: ") && Contains("'g'"));
}

TEST_CASE("a FAISS file has FAISS's bytes", "[formats]") {
  const testing::TemporaryFolder folder;
  ItemSet items = two_items();
  const std::string header("\x10\0\0\0\2\0\0\0\2\0\0\0\0\0\0\0\1\1\0\0\0", 21),
      codes("\4\0\0\0\0\0\0\0\x01\x82\xfe\0", 12),
      ids("\2\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 24);
  write_items(folder / "map.faiss", items, ItemFormat::kFaiss);
  REQUIRE(text_of(folder / "map.faiss") == "IBMp" + header + "IBxF" + header + codes + ids);
  items.set.ids = {0, 1};
  write_items(folder / "flat.faiss", items, ItemFormat::kFaiss);
  REQUIRE(text_of(folder / "flat.faiss") == "IBxF" + header + codes);
  const ItemSet flat = read_items(folder / "flat.faiss"), map = read_items(folder / "map.faiss");
  REQUIRE(flat.set.codes.to_bytes() == items.set.codes.to_bytes());
  REQUIRE(map.set.codes.to_bytes() == items.set.codes.to_bytes());
  REQUIRE(flat.set.ids == std::vector<std::int64_t>{0, 1});
  REQUIRE(map.set.ids == std::vector<std::int64_t>{7, 3});
}

TEST_CASE("FAISS files that are damaged or of another kind are refused", "[formats]") {
  const testing::TemporaryFolder folder;
  write_items(folder / "a", two_items(), ItemFormat::kFaiss);
  const std::string whole = text_of(folder / "a");
  const auto parse = [](const std::string& text) {
    return parse_faiss_file(std::as_bytes(std::span(text)), "a.faiss");
  };
  REQUIRE(parse(whole).ids.size() == 2);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    REQUIRE_THROWS_WITH(parse(whole.substr(0, length)), Contains("a.faiss: not a usable"));
  }
  REQUIRE_THROWS_WITH(parse(whole + "x"), Contains("behind its end"));
  const auto with = [&](std::size_t at, char byte) {
    std::string changed = whole;
    changed[at] = byte;
    return changed;
  };
  REQUIRE_THROWS_WITH(parse(with(3, 'w')), Contains("not with IBxF"));
  REQUIRE_THROWS_WITH(parse(with(28, 'w')), Contains("IBxw"));
  REQUIRE_THROWS_WITH(parse(with(4, 12)), Contains("codes of 12 bits"));
  REQUIRE_THROWS_WITH(parse(with(8, 3)), Contains("in 3 bytes"));
  REQUIRE_THROWS_WITH(parse(with(12, 3)), Contains("differ in number"));
  REQUIRE_THROWS_WITH(parse(with(19, '\x80')), Contains(" codes"));
  REQUIRE_THROWS_WITH(parse(with(50, 6)), Contains("an array of 6 for 2 codes"));
  REQUIRE_THROWS_WITH(parse(with(57, '\x7f')), Contains("an array of"));
}

TEST_CASE("CSV comes back as it was written", "[formats]") {
  const testing::TemporaryFolder folder;
  ItemSet items = two_items();
  write_items(folder / "a.csv", items, item_format("", "a.csv"));
  REQUIRE(text_of(folder / "a.csv") ==
          "id,code,labels,path,metadata\n"
          "7,0182,5 64,\"a,\"\"b\"\"\\\n\tc.png\",\n"
          "3,fe00,,,\"{\"\"x\"\":[1,\"\"é\"\"]}\"\n");
  ItemSet back = read_items(folder / "a.csv");
  REQUIRE(back.set.classes == 65);  // the number of classes isn't in the file
  back.set.classes = 70;
  require_equal(back, items);
}

TEST_CASE("CSV of others", "[formats]") {
  const ItemSet items = parse_csv("path,code\r\n\r\nx.png,ff\r\n\"y\",00", "f.csv");
  REQUIRE(items.set.ids == std::vector<std::int64_t>{0, 1});
  REQUIRE(items.set.names == std::vector<std::string>{"x.png", "y"});
  REQUIRE(items.set.codes.to_bytes() == std::vector<std::uint8_t>{255, 0});
  REQUIRE(items.set.classes == 0);
  items.validate();
  const auto refused = [](const std::string& text, const std::string& why) {
    CAPTURE(text);
    REQUIRE_THROWS_WITH(parse_csv(text, "f.csv"), Contains(why));
  };
  refused("", "f.csv:1: it is empty");
  refused("id,path\n1,a\n", "one column of codes is needed, called code, hex or bits");
  refused("id,code,id\n1,00,2\n", "column 'id'");
  refused("id,hash\n1,00\n", "column 'hash'");
  refused("id,code\n", "no items");
  refused("id,code\n1,00\n2\n", "f.csv:3: 1 fields");
  refused("id,code\n1,00\n\n2,zz\n", "f.csv:4: code 'zz'");
  refused("id,code\n1,00\n2,0000\n", "f.csv:3: a code of 16 bits");
  refused("id,code\n1x,00\n", "'1x' isn't a number");
  refused("id,code\n99999999999999999999,00\n", "isn't a number that can be used");
  refused("code,labels\n00,1 99999999\n", "label 99999999");
  refused("code,path\n00,\"a\n", "a quote isn't closed");
  refused("code,path\n00,\"a\"b\n", "behind a closing quote");
}

TEST_CASE("PostgreSQL's COPY text: bit 0 is the first of bit(n)", "[formats]") {
  const ItemSet items = two_items();
  REQUIRE(to_copy_text(items, 0, 2) ==
          "7\t1000000001000001\ta,\"b\"\\\\\\n\\tc.png\t{5,64}\t\\N\n"
          "3\t0111111100000000\t\\N\t{}\t{\"x\":[1,\"é\"]}\n");
}

TEST_CASE("Milvus' rows: the bytes as they are", "[formats]") {
  const ItemSet items = two_items();
  const std::string text = to_milvus_rows(items, 0, 2);
  const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
  const auto second = nlohmann::json::parse(text.substr(text.find('\n')));
  REQUIRE(first == nlohmann::json({{"id", 7},
                                   {"code", {0x01, 0x82}},
                                   {"path", items.set.names[0]},
                                   {"labels", {5, 64}},
                                   {"metadata", nlohmann::json::object()}}));
  REQUIRE(second.at("code") == nlohmann::json({0xfe, 0}));
  REQUIRE(second.at("metadata").at("x").at(1) == "é");
}

TEST_CASE("the other formats are those of code files and arrays", "[formats]") {
  const testing::TemporaryFolder folder;
  ItemSet items = two_items();
  write_items(folder / "a.codes", items, item_format("", "a.codes"));
  write_items(folder / "a.npy", items, item_format("npy", "a"));
  const ItemSet codes = read_items(folder / "a.codes"), array = read_items(folder / "a.npy");
  items.metadata.clear();  // a code file has no place for them
  require_equal(codes, items);
  REQUIRE(array.set.codes.to_bytes() == items.set.codes.to_bytes());
  REQUIRE(item_format("", "x.jsonl") == ItemFormat::kMilvus);
  REQUIRE(item_format("pgvector", "x.csv") == ItemFormat::kPgvector);
  REQUIRE_THROWS_WITH(item_format("xml", "x"), Contains("milvus"));
}

}  // namespace
}  // namespace hh::retrieval
