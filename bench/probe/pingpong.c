/*
 * Latency of one small UDP datagram after another, there and back. Both ends read one clock (network namespaces of one machine share it), so that
 * each way is measured for itself. The client prints one line of JSON: microseconds at the percentiles 50, 99 and 99.9.
 * usage: pingpong server IP PORT
 *        pingpong client IP PORT SECONDS BYTES
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 4000000, TIMEOUT_MS = 1000, WARM_UP = 10 };
struct stamps {
  uint64_t number, sent, turned;
};

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void fail(const char *what) { perror(what), exit(1); }

static void serve(int s) {
  uint8_t buffer[2048];
  struct sockaddr_storage from;
  for (;;) {
    socklen_t length = sizeof from;
    int n = recvfrom(s, buffer, sizeof buffer, 0, (void *)&from, &length);
    if (n < (int)sizeof(struct stamps)) continue;
    ((struct stamps *)buffer)->turned = now();
    sendto(s, buffer, n, 0, (void *)&from, length);
  }
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}
static void print(const char *name, float *us, int count, const char *end) {
  qsort(us, count, sizeof *us, ascending);
  printf("\"%s\":[%.2f,%.2f,%.2f]%s", name, us[count / 2], us[(int)(count * 0.99)], us[(int)(count * 0.999)], end);
}

static void ask(int s, double seconds, int bytes) {
  static float there[SAMPLES], back[SAMPLES], both[SAMPLES];
  uint8_t buffer[2048] = {0};
  struct stamps *stamps = (void *)buffer;
  struct timeval timeout = {TIMEOUT_MS / 1000, TIMEOUT_MS % 1000 * 1000};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  uint64_t end = now() + seconds * 1e9, number = 0;
  int count = 0, lost = 0, warm = 0;
  while (now() < end && count < SAMPLES) {
    stamps->number = ++number;
    uint64_t sent = stamps->sent = now();
    send(s, buffer, bytes, 0);
    int n;
    do n = recv(s, buffer, sizeof buffer, 0); /* an answer that comes after its time is passed over */
    while (n >= (int)sizeof *stamps && stamps->number != number);
    uint64_t arrived = now();
    if (n < (int)sizeof *stamps) { lost++; continue; }
    if (warm++ < WARM_UP) continue;
    there[count] = (stamps->turned - sent) / 1e3;
    back[count] = (arrived - stamps->turned) / 1e3;
    both[count++] = (arrived - sent) / 1e3;
  }
  if (!count) fprintf(stderr, "pingpong: nothing came back\n"), exit(1);
  printf("{");
  print("there", there, count, ",");
  print("back", back, count, ",");
  print("roundTrip", both, count, ",");
  printf("\"count\":%d,\"lost\":%d}\n", count, lost);
}

int main(int count, char **words) {
  int serving = count > 3 && !strcmp(words[1], "server");
  if (!serving && count < 6) return fprintf(stderr, "usage: pingpong server IP PORT | client IP PORT SECONDS BYTES\n"), 2;
  int s = socket(AF_INET, SOCK_DGRAM, 0), bytes = serving ? 0 : atoi(words[5]);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(words[3]))};
  if (inet_pton(AF_INET, words[2], &at.sin_addr) != 1) fail("address");
  if (serving ? bind(s, (void *)&at, sizeof at) : connect(s, (void *)&at, sizeof at)) fail("socket");
  if (serving) serve(s);
  if (bytes < (int)sizeof(struct stamps) || bytes > 2048) return fprintf(stderr, "pingpong: 24 to 2048 bytes\n"), 2;
  ask(s, atof(words[4]), bytes);
}
