// Ask a uad server about one image. C++17, libcurl and nlohmann/json.
//
// Build:  apt-get install g++ libcurl4-openssl-dev nlohmann-json3-dev
//         g++ -std=c++17 -O2 client.cpp -lcurl -o client
// Run:    ./client IMAGE OUTPUT.jpg [URL]
//         ./client --feedback LOG_ID good|defective [NOTE [URL]]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace {

const char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64_encode(const std::string& data) {
  std::string text;
  unsigned buffer = 0;
  int bits = 0;
  for (unsigned char byte : data) {
    buffer = (buffer << 8) | byte;
    for (bits += 8; bits >= 6; bits -= 6) text += kAlphabet[(buffer >> (bits - 6)) & 63];
  }
  if (bits > 0) text += kAlphabet[(buffer << (6 - bits)) & 63];
  while (text.size() % 4 != 0) text += '=';
  return text;
}

std::string base64_decode(const std::string& text) {
  const std::string alphabet = kAlphabet;
  std::string data;
  unsigned buffer = 0;
  int bits = 0;
  for (char letter : text) {
    if (letter == '=') break;
    const auto value = alphabet.find(letter);
    if (value == std::string::npos) throw std::runtime_error("the picture is no valid base64");
    buffer = (buffer << 6) | static_cast<unsigned>(value);
    bits += 6;
    if (bits >= 8) data += static_cast<char>((buffer >> (bits -= 8)) & 255);
  }
  return data;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& data) {
  std::ofstream file(path, std::ios::binary);
  if (!file.write(data.data(), static_cast<std::streamsize>(data.size())).flush()) {
    throw std::runtime_error("cannot write " + path);
  }
}

size_t append(char* data, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

// POST `body` as JSON and return the answer's body, whatever its HTTP status.
std::string post(const std::string& url, const std::string& body) {
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) throw std::runtime_error("libcurl cannot start");
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
      curl_slist_append(nullptr, "Content-Type: application/json"), curl_slist_free_all);
  if (const char* key = std::getenv("UAD_API_KEY")) {
    curl_slist_append(headers.get(), (std::string("Authorization: Bearer ") + key).c_str());
  }
  std::string answer;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 60L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
  return answer;
}

// Send JSON; return the answer with its `result`.
nlohmann::json answer_to(const std::string& url, const nlohmann::json& request) {
  auto answer = nlohmann::json::parse(post(url, request.dump()));
  const int code = answer.at("errorCode");
  if (code != 0) {
    throw std::runtime_error(std::to_string(code) + ": " + answer.at("errorMsg").get<std::string>());
  }
  return answer;
}

// Send the bytes of an image file; return the answer with its `result`.
nlohmann::json ask(const std::string& url, const std::string& image) {
  return answer_to(url, {{"image", base64_encode(image)}});
}

// Say that a judged image is `good` or `defective`; return the answer with its `result`.
nlohmann::json say(const std::string& url, const std::string& log_id, const std::string& verdict,
                   const std::string& note) {
  return answer_to(url, {{"logId", log_id}, {"verdict", verdict}, {"note", note}});
}

void feedback(const std::string& log_id, const std::string& verdict, const std::string& note,
              const std::string& url) {
  const auto answer = say(url, log_id, verdict, note);
  const auto& recorded = answer.at("result");
  std::cout << "recorded: judged " << recorded.at("judged").get<std::string>() << ", said "
            << recorded.at("said").get<std::string>() << "\n";
}

void analyse(const std::string& image, const std::string& output, const std::string& url) {
  const auto answer = ask(url, read_file(image));
  const auto& result = answer.at("result");
  write_file(output, base64_decode(result.at("image")));
  // labelMap is row by row: the pixel in row y and column x is labels[y * width + x].
  const auto& labels = result.at("labelMap");
  const auto anomalous = std::count_if(labels.begin(), labels.end(),
                                       [](const nlohmann::json& label) { return label != 0; });
  std::cout << "score: " << result.at("score") << "\n"
            << "verdict: " << (result.at("isAnomalous") ? "anomalous" : "normal") << "\n"
            << "size: " << result.at("size")[0] << " x " << result.at("size")[1] << "\n"
            << "anomalous pixels: " << anomalous << "\n";
  const auto& regions = result.at("regions");  // largest score first
  const std::size_t omitted = result.at("regionsOmitted");
  std::cout << "regions: " << regions.size() + omitted << "\n";
  for (std::size_t index = 0; index < regions.size(); ++index) {
    const auto& box = regions[index].at("box");
    std::cout << "region " << index + 1 << ": x " << box[0] << ", y " << box[1] << ", width "
              << box[2] << ", height " << box[3] << "\n";
  }
  std::cout << "log id: " << answer.at("logId").get<std::string>() << "\n"
            << "picture: " << output << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_feedback = argc > 1 && std::string(argv[1]) == "--feedback";
  if (is_feedback ? argc < 4 || argc > 6 : argc < 3 || argc > 4) {
    std::cerr << "usage: client IMAGE OUTPUT.jpg [URL]\n"
              << "       client --feedback LOG_ID good|defective [NOTE [URL]]\n";
    return 2;
  }
  try {
    if (is_feedback) {
      feedback(argv[2], argv[3], argc > 4 ? argv[4] : "",
               argc > 5 ? argv[5] : "http://localhost:8080/feedback");
    } else {
      analyse(argv[1], argv[2], argc > 3 ? argv[3] : "http://localhost:8080/image-anomaly-detection");
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
