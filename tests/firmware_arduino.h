// The few Arduino functions that pulse_box.ino uses, for this computer: time moves when the test says.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#define LOW 0
#define HIGH 1
#define OUTPUT 1
static unsigned long long now_us = 1000000;
static unsigned long micros() { return (unsigned long)now_us; }
static unsigned long millis() { return (unsigned long)(now_us / 1000); }
static int level = 0;
static void pinMode(int, int) {}
static void digitalWrite(int, int value) {
  if (value != level) { level = value; printf("PIN %llu %d\n", now_us, value); }
}
struct Port {
  std::string in;
  void begin(long) {}
  int available() { return (int)in.size(); }
  int read() { int c = in[0]; in.erase(0, 1); return c; }
  void print(const char *text) { printf("%s", text); }
  void println(const char *text) { printf("%s\n", text); }
  void println(unsigned long n) { printf("%lu\n", n); }
} Serial;
