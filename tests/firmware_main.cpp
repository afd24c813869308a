// Lines on the standard input: "+N" lets N microseconds pass, everything else goes to the sketch.
#include "firmware_arduino.h"
#include SKETCH
int main() {
  char text[256];
  setup();
  while (fgets(text, sizeof text, stdin)) {
    if (text[0] == '+') {
      for (long n = atol(text + 1) / 10; n > 0; n--) { now_us += 10; loop(); }
    } else {
      Serial.in += text;
      loop();
    }
    printf("NOW %llu\n", now_us);
    fflush(stdout);
  }
}
