// Reads the newest tensor of each camera from NATS, and maps a box back to the picture.
//
//     apt-get install libnats-dev
//     g++ -std=c++20 -O2 -Wall -Wextra main.cpp -lnats -o consume
//     ./consume nats://127.0.0.1:4222 'cvf.t.*.detector'
//
// A third argument is the number of tensors after which it ends.

#include <nats/nats.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// The payload is little-endian, and so has the machine to be.
static_assert(std::endian::native == std::endian::little);

namespace {

constexpr int64_t quiet = 5000;         // milliseconds
constexpr int64_t max_bytes = 1 << 30;  // of a tensor
constexpr int max_waiting = 64;         // messages; NATS drops what comes beyond

struct Closer {
  void operator()(natsOptions *o) const { natsOptions_Destroy(o); }
  void operator()(natsConnection *c) const { natsConnection_Destroy(c); }
  void operator()(natsSubscription *s) const { natsSubscription_Destroy(s); }
  void operator()(natsMsg *m) const { natsMsg_Destroy(m); }
};
template <typename T>
using Owned = std::unique_ptr<T, Closer>;

void check(natsStatus s, const std::string &what) {
  if (s != NATS_OK) throw std::runtime_error(what + ": " + natsStatus_GetText(s));
}

// A message that is not what cvfeeder publishes.
struct Invalid : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Tensor {
  std::string stream, time, shape;
  std::array<double, 6> affine;
  std::vector<float> values;
};

std::string header(natsMsg *msg, const char *name) {
  const char *value = nullptr;
  if (natsMsgHeader_Get(msg, name, &value) != NATS_OK || value == nullptr)
    throw Invalid(std::string("the header ") + name + " is missing");
  return value;
}

bool has(natsMsg *msg, const char *name) {
  const char *value = nullptr;
  return natsMsgHeader_Get(msg, name, &value) == NATS_OK;
}

// Reads n numbers with commas between them.
template <typename T, size_t n>
std::array<T, n> numbers(const std::string &text) {
  std::array<T, n> all;
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  for (size_t i = 0; i < n; i++) {
    char comma = ',';
    if ((i > 0 && !(in >> comma)) || comma != ',' || !(in >> all[i]))
      throw Invalid(text.substr(0, 40) + " is not " + std::to_string(n) + " numbers");
  }
  if (in.peek() != EOF) throw Invalid(text.substr(0, 40) + " has more than " + std::to_string(n) + " numbers");
  return all;
}

// The number that 16 bits of IEEE 754 half precision say.
float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  const float sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(float(fraction), -24);
  if (exponent == 31) return fraction ? std::numeric_limits<float>::quiet_NaN() : sign * INFINITY;
  return sign * std::ldexp(float(1024 + fraction), exponent - 25);
}

// The elements as floats. The payload begins at any offset, so it is copied, and never read
// through a float pointer.
template <typename T, typename F>
std::vector<float> read(const char *data, size_t bytes, F convert) {
  std::vector<T> elements(bytes / sizeof(T));
  std::memcpy(elements.data(), data, bytes);
  std::vector<float> values;
  values.reserve(elements.size());
  for (T element : elements) values.push_back(convert(element));
  return values;
}

// Checks a message, and returns its tensor; an inline gap is not one.
Tensor parse(natsMsg *msg) {
  if (header(msg, "Cvf-Version") != "1") throw Invalid("not the version 1 that this program reads");
  if (has(msg, "Cvf-Chunk"))
    throw Invalid("a part of a tensor: set delivery.oversize to reject, or join the parts");
  const std::string dtype = header(msg, "Cvf-Dtype");
  const int64_t size = dtype == "FP32" ? 4 : dtype == "FP16" || dtype == "BF16" ? 2 : dtype == "UINT8" || dtype == "INT8" ? 1 : 0;
  if (size == 0) throw Invalid("the type " + dtype.substr(0, 40) + " is unknown");
  Tensor t{header(msg, "Cvf-Stream"), header(msg, "Cvf-Time"), header(msg, "Cvf-Shape"),
           numbers<double, 6>(header(msg, "Cvf-Affine")), {}};
  int64_t bytes = size;
  for (int64_t n : numbers<int64_t, 4>(t.shape)) {
    if (n < 1 || n > max_bytes / bytes) throw Invalid("the shape " + t.shape.substr(0, 40) + " is wrong or too large");
    bytes *= n;
  }
  if (bytes != natsMsg_GetDataLength(msg))
    throw Invalid(std::to_string(natsMsg_GetDataLength(msg)) + " bytes are not " + t.shape + " of " + dtype);
  const char *data = natsMsg_GetData(msg);
  if (size == 4) t.values = read<float>(data, bytes, [](float f) { return f; });
  if (size == 2) t.values = read<uint16_t>(data, bytes, from_half);
  if (size == 1) t.values = read<uint8_t>(data, bytes, [](uint8_t b) { return float(b); });
  return t;
}

void show(const Tensor &t) {
  const auto &[a, b, c, d, e, f] = t.affine;
  const double x = 10, y = 20;  // a corner of a box that a model has found
  std::cout << t.stream << " " << t.time << " " << t.shape << " sum "
            << std::accumulate(t.values.begin(), t.values.end(), 0.0) << " corner " << a * x + b * y + c << " "
            << d * x + e * y + f << std::endl;
}

// Takes what has come: of each camera, only the newest message counts. Waits for the first.
std::map<std::string, Owned<natsMsg>> newest(natsSubscription *subscription) {
  std::map<std::string, Owned<natsMsg>> all;
  for (int i = 0; i < max_waiting; i++) {
    natsMsg *msg = nullptr;
    const natsStatus s = natsSubscription_NextMsg(&msg, subscription, i == 0 ? quiet : 0);
    if (s == NATS_TIMEOUT) break;
    if (s == NATS_SLOW_CONSUMER) continue;  // some were dropped; the next ones are newer
    check(s, "reading");
    all[natsMsg_GetSubject(msg)].reset(msg);
  }
  return all;
}

void consume(const char *url, const char *subject, long left) {
  natsOptions *options = nullptr;
  check(natsOptions_Create(&options), "options");
  const Owned<natsOptions> owned_options(options);
  check(natsOptions_SetURL(options, url), url);
  check(natsOptions_SetMaxReconnect(options, -1), "options");  // once connected, it connects again for ever
  natsConnection *connection = nullptr;
  check(natsConnection_Connect(&connection, options), std::string("connecting to ") + url);
  const Owned<natsConnection> owned_connection(connection);
  natsSubscription *subscription = nullptr;
  check(natsConnection_SubscribeSync(&subscription, connection, subject), subject);
  const Owned<natsSubscription> owned_subscription(subscription);
  check(natsSubscription_SetPendingLimits(subscription, max_waiting, -1), "limits");
  while (left > 0) {
    const auto messages = newest(subscription);
    if (messages.empty()) std::cerr << "nothing on " << subject << " within " << quiet << " ms" << std::endl;
    for (const auto &[on, msg] : messages) {
      try {
        if (has(msg.get(), "Cvf-Gap")) {
          std::cout << on << ": a gap" << std::endl;
          continue;
        }
        show(parse(msg.get()));
        left--;
      } catch (const Invalid &err) {
        std::cerr << on << ": " << err.what() << std::endl;
      }
    }
  }
}

}  // namespace

int main(int argc, char **argv) {
  int code = 0;
  try {
    consume(argc > 1 ? argv[1] : "nats://127.0.0.1:4222", argc > 2 ? argv[2] : "cvf.t.>",
            argc > 3 ? std::stol(argv[3]) : std::numeric_limits<long>::max());
  } catch (const std::exception &err) {
    std::cerr << err.what() << std::endl;
    code = 1;
  }
  nats_Close();
  return code;
}
