// uad_edge FOLDER IMAGE [LABELMAP.pgm]
//
// Reads an image, runs FOLDER/model.onnx and prints one line of JSON: score, threshold, verdict, and
// the part that raised the alarm. Writes the label map (255 where the anomaly map exceeds its own
// threshold) if a third name is given.
// Needs ONNX Runtime's shared library and nothing else.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>
#ifdef UAD_OPENCV
#include <opencv2/imgcodecs.hpp>
#endif

// ---- ONNX Runtime's C interface: a table of functions whose order has been fixed since 1.0. Only
// the places of those used here are named, so that no header is needed.
extern "C" {
struct OrtApiBase {
  void *const *(*GetApi)(uint32_t version);
  const char *(*GetVersionString)();
};
const OrtApiBase *OrtGetApiBase(void);
}

namespace {

struct Status;
struct Env;
struct Options;
struct Session;
struct Memory;
struct Value;

constexpr uint32_t kVersion = 11;
constexpr int kWarning = 2, kArena = 1, kDefaultMemory = 0;
constexpr int kFloat = 1, kUint8 = 2, kInt64 = 7;  // ONNX's TensorProto.DataType

class Runtime {
 public:
  explicit Runtime(const std::string &model) {
    table_ = OrtGetApiBase()->GetApi(kVersion);
    if (!table_) throw std::runtime_error("ONNX Runtime is older than 1.11");
    check(at<Status *(int, const char *, Env **)>(3)(kWarning, "uad", &env_));
    Options *options = nullptr;
    check(at<Status *(Options **)>(10)(&options));
    check(at<Status *(const Env *, const char *, const Options *, Session **)>(7)(
        env_, model.c_str(), options, &session_));
    at<void(Options *)>(100)(options);
    check(at<Status *(int, int, Memory **)>(69)(kArena, kDefaultMemory, &memory_));
  }

  Value *tensor(void *data, size_t bytes, const std::vector<int64_t> &shape, int type) {
    Value *value = nullptr;
    using Make = Status *(const Memory *, void *, size_t, const int64_t *, size_t, int, Value **);
    check(at<Make>(49)(memory_, data, bytes, shape.data(), shape.size(), type, &value));
    return value;
  }

  void run(const char *const *input_names, Value *const *inputs, size_t input_count,
           const char *const *output_names, size_t output_count, Value **outputs) {
    using Run = Status *(Session *, const void *, const char *const *, Value *const *, size_t,
                         const char *const *, size_t, Value **);
    check(at<Run>(9)(session_, nullptr, input_names, inputs, input_count, output_names,
                     output_count, outputs));
  }

  const float *floats(Value *value) {
    void *data = nullptr;
    check(at<Status *(Value *, void **)>(51)(value, &data));
    return static_cast<const float *>(data);
  }

 private:
  template <typename Function>
  Function *at(size_t place) const {
    return reinterpret_cast<Function *>(table_[place]);
  }

  void check(Status *status) const {
    if (status) throw std::runtime_error(at<const char *(const Status *)>(2)(status));
  }

  void *const *table_ = nullptr;
  Env *env_ = nullptr;
  Session *session_ = nullptr;
  Memory *memory_ = nullptr;
};

// ---- Images: rows of BGR bytes.
struct Image {
  int height = 0, width = 0;
  std::vector<uint8_t> pixels;
};

#ifndef UAD_OPENCV
int header_number(std::istream &in) {
  while (in >> std::ws && in.peek() == '#') {
    std::string comment;
    std::getline(in, comment);
  }
  int number = 0;
  in >> number;
  return number;
}
#endif

Image read_image(const std::string &path) {
  Image image;
#ifdef UAD_OPENCV
  const cv::Mat found = cv::imread(path, cv::IMREAD_COLOR);
  if (found.empty()) throw std::runtime_error(path + " is not a readable image");
  image.height = found.rows;
  image.width = found.cols;
  image.pixels.assign(found.data, found.data + found.total() * 3);
#else
  std::ifstream in(path, std::ios::binary);
  std::string magic;
  in >> magic;
  const int channels = magic == "P6" ? 3 : magic == "P5" ? 1 : 0;
  image.width = header_number(in);
  image.height = header_number(in);
  const int largest = header_number(in);
  in.get();
  if (!in || !channels || largest != 255 || image.width < 1 || image.height < 1)
    throw std::runtime_error(path + " is no 8-bit binary PPM or PGM; build with OpenCV for others");
  std::vector<uint8_t> stored(size_t(image.width) * image.height * channels);
  if (!in.read(reinterpret_cast<char *>(stored.data()), std::streamsize(stored.size())))
    throw std::runtime_error(path + " is cut short");
  image.pixels.resize(size_t(image.width) * image.height * 3);
  for (size_t at = 0; at < image.pixels.size(); ++at) {  // RGB or grey to BGR
    const size_t pixel = at / 3, channel = 2 - at % 3;
    image.pixels[at] = stored[channels == 3 ? pixel * 3 + channel : pixel];
  }
#endif
  return image;
}

// ---- Resizing as OpenCV does: each output value is a weighted sum along each axis.
struct Tap {
  int source;
  double weight;
};
using Taps = std::vector<std::vector<Tap>>;

Taps area_taps(int from, int to) {
  Taps taps(to);
  const double scale = double(from) / to;
  for (int out = 0; out < to; ++out) {
    const double begin = out * scale, end = std::min<double>(from, begin + scale);
    for (int in = int(begin); in < from && in < end; ++in) {
      const double covered = std::min(end, in + 1.0) - std::max(begin, double(in));
      if (covered > 1e-9) taps[out].push_back({in, covered / (end - begin)});
    }
  }
  return taps;
}

Taps linear_taps(int from, int to, bool enlarging_area) {
  Taps taps(to);
  const double scale = double(from) / to;
  for (int out = 0; out < to; ++out) {
    double at = (out + 0.5) * scale - 0.5;
    if (enlarging_area) {
      const double first = std::floor(out * scale);
      const double part = (out + 1) - (first + 1) / scale;
      at = first + (part <= 0 ? 0 : part - std::floor(part));
    }
    at = std::clamp(at, 0.0, double(from - 1));
    const int low = std::min(int(at), from - 1), high = std::min(low + 1, from - 1);
    taps[out] = {{low, 1 - (at - low)}, {high, at - low}};
  }
  return taps;
}

Image resize(const Image &image, int height, int width, const std::string &interpolation) {
  if (image.height == height && image.width == width) return image;
  const bool area = interpolation == "area";
  const bool shrinking = image.height >= height && image.width >= width;
  const auto taps = [&](int from, int to) {
    return area && shrinking ? area_taps(from, to) : linear_taps(from, to, area);
  };
  const Taps rows = taps(image.height, height), columns = taps(image.width, width);
  Image result{height, width, std::vector<uint8_t>(size_t(height) * width * 3)};
  std::vector<double> line(size_t(image.width) * 3);
  for (int y = 0; y < height; ++y) {
    std::fill(line.begin(), line.end(), 0.0);
    for (const Tap &tap : rows[y]) {
      const uint8_t *source = &image.pixels[size_t(tap.source) * image.width * 3];
      for (size_t x = 0; x < line.size(); ++x) line[x] += tap.weight * source[x];
    }
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) {
        double sum = 0;
        for (const Tap &tap : columns[x]) sum += tap.weight * line[size_t(tap.source) * 3 + c];
        result.pixels[(size_t(y) * width + x) * 3 + c] =
            uint8_t(std::clamp(std::nearbyint(sum), 0.0, 255.0));
      }
  }
  return result;
}

// ---- FOLDER/settings.txt: a name and a value a line.
struct Settings {
  int height = 0, width = 0;
  double threshold = 0, map_threshold = 0;
  std::string interpolation;
  std::vector<std::string> parts;  // whose shares of the score the model gives; none: the student's
};

Settings read_settings(const std::string &path) {
  std::ifstream in(path);
  Settings settings;
  bool own_map_threshold = false;
  for (std::string name; in >> name;) {
    if (name == "height") in >> settings.height;
    else if (name == "width") in >> settings.width;
    else if (name == "threshold") in >> settings.threshold;
    else if (name == "map_threshold") own_map_threshold = bool(in >> settings.map_threshold);
    else if (name == "part") in >> settings.parts.emplace_back();
    else if (name == "interpolation") in >> settings.interpolation;
    else throw std::runtime_error(path + ": unknown setting " + name);
  }
  if (settings.height < 1 || settings.width < 1 || settings.interpolation.empty())
    throw std::runtime_error(path + " is missing or incomplete");
  if (!own_map_threshold) settings.map_threshold = settings.threshold;
  return settings;
}

void write_label_map(const std::string &path, const float *map, const Image &image,
                     double threshold) {
  std::ofstream out(path, std::ios::binary);
  out << "P5\n" << image.width << ' ' << image.height << "\n255\n";
  for (size_t at = 0; at < size_t(image.width) * image.height; ++at)
    out.put(map[at] > threshold ? char(255) : char(0));
}

// The part with the largest share of the score, as people read it.
std::string leading_part(const Settings &settings, const float *shares) {
  if (settings.parts.empty()) return "student";
  const auto largest = std::max_element(shares, shares + settings.parts.size()) - shares;
  std::string name = settings.parts[size_t(largest)];
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

int run(const std::string &folder, const std::string &path, const std::string &label_map) {
  const Settings settings = read_settings(folder + "/settings.txt");
  const Image image = read_image(path);
  Image small = resize(image, settings.height, settings.width, settings.interpolation);
  int64_t size[2] = {image.height, image.width};

  Runtime runtime(folder + "/model.onnx");
  Value *inputs[] = {
      runtime.tensor(small.pixels.data(), small.pixels.size(),
                     {1, settings.height, settings.width, 3}, kUint8),
      runtime.tensor(size, sizeof size, {2}, kInt64),
  };
  const char *input_names[] = {"image", "size"};
  const char *output_names[] = {"map", "score", "shares"};
  Value *outputs[3] = {nullptr, nullptr, nullptr};
  runtime.run(input_names, inputs, 2, output_names, settings.parts.empty() ? 2 : 3, outputs);

  const double score = *runtime.floats(outputs[1]);
  const bool anomalous = score > settings.threshold;
  const std::string raised_by =
      anomalous ? '"' + leading_part(settings, settings.parts.empty() ? nullptr
                                                                      : runtime.floats(outputs[2])) +
                      '"'
                : "null";
  std::printf(
      "{\"score\": %.9g, \"threshold\": %.9g, \"mapThreshold\": %.9g, \"isAnomalous\": %s, "
      "\"raisedBy\": %s}\n",
      score, settings.threshold, settings.map_threshold, anomalous ? "true" : "false",
      raised_by.c_str());
  if (!label_map.empty())
    write_label_map(label_map, runtime.floats(outputs[0]), image, settings.map_threshold);
  return 0;
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    std::fprintf(stderr, "usage: uad_edge FOLDER IMAGE [LABELMAP.pgm]\n");
    return 2;
  }
  try {
    return run(arguments[1], arguments[2], count == 4 ? arguments[3] : "");
  } catch (const std::exception &problem) {
    std::fprintf(stderr, "error: %s\n", problem.what());
    return 1;
  }
}
