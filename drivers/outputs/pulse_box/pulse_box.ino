// Pulse box for spikeloop: Arduino or Teensy. Makes pulses of light and bounds them itself.
// Wire PIN_LIGHT to the TTL input of the light source, with 10 kOhm to ground. Protocol: README.md beside this file.
const int PIN_LIGHT = 5;
const unsigned long MAX_WIDTH_US = 50000;     // no pulse is longer, whatever is asked for
const unsigned long MIN_DARK_US = 1000;       // between two pulses of a train
const unsigned long MAX_PULSES = 1000;
const unsigned long MAX_WATCHDOG_MS = 100;

bool armed = false, primed = false, lit = false;
unsigned long watchdogMs = 0, fedMs = 0;
unsigned long pulses = 0, widthUs = 0, periodUs = 0;
unsigned long left = 0, edgeUs = 0;
char line[64];
int length = 0;
bool tooLong = false;

void dark() {
  digitalWrite(PIN_LIGHT, LOW);
  lit = false;
  left = 0;
}

void fail(const char *code, const char *text) {
  Serial.print("ERR "); Serial.print(code); Serial.print(" "); Serial.println(text);
}

void say(const char *what) { Serial.print("OK "); Serial.println(what); }

void obey() {
  unsigned long a = 0, b = 0, c = 0;
  if (strcmp(line, "HELLO") == 0) {
    Serial.print("OK HELLO spikeloop-pulse-box 1 "); Serial.println(MAX_WIDTH_US);
  } else if (sscanf(line, "ARM %lu", &a) == 1) {
    dark(); primed = false;
    if (a == 0 || a > MAX_WATCHDOG_MS) { armed = false; fail("WATCHDOG", "1 to 100 ms"); return; }
    armed = true; watchdogMs = a; fedMs = millis(); say("ARM");
  } else if (strcmp(line, "FEED") == 0) {
    if (!armed) { fail("DARK", "not armed, or the watchdog has expired"); return; }
    fedMs = millis(); say("FEED");
  } else if (sscanf(line, "PRIME %lu %lu %lu", &a, &b, &c) == 3) {
    primed = false;
    if (!armed) { fail("DARK", "not armed, or the watchdog has expired"); return; }
    if (left > 0) { fail("BUSY", "a train is running"); return; }
    if (a == 0 || a > MAX_PULSES) { fail("PULSES", "1 to 1000"); return; }
    if (b == 0 || b > MAX_WIDTH_US) { fail("WIDTH", "beyond the width that the box allows"); return; }
    if (a > 1 && c < b + MIN_DARK_US) { fail("PERIOD", "pulses touch"); return; }
    pulses = a; widthUs = b; periodUs = c; primed = true; say("PRIME");
  } else if (strncmp(line, "FIRE ", 5) == 0) {
    if (!armed) { fail("DARK", "not armed, or the watchdog has expired"); return; }
    if (!primed) { fail("PRIME", "nothing is primed"); return; }
    if (left > 0) { fail("BUSY", "a train is running"); return; }
    digitalWrite(PIN_LIGHT, HIGH);
    edgeUs = micros(); lit = true; left = pulses;
    Serial.print("OK "); Serial.println(line);
  } else if (strcmp(line, "SAFE") == 0) {
    dark(); armed = false; primed = false; say("SAFE");
  } else if (strcmp(line, "STATUS") == 0) {
    say(armed ? (left > 0 ? "STATUS firing" : "STATUS armed") : "STATUS dark");
  } else {
    fail("COMMAND", "unknown");
  }
}

void setup() {
  pinMode(PIN_LIGHT, OUTPUT);
  dark();
  Serial.begin(115200);
}

void loop() {
  unsigned long nowUs = micros();
  if (lit && nowUs - edgeUs >= widthUs) {
    digitalWrite(PIN_LIGHT, LOW);
    lit = false;
    left -= 1;
  } else if (!lit && left > 0 && nowUs - edgeUs >= periodUs) {
    digitalWrite(PIN_LIGHT, HIGH);
    edgeUs += periodUs;
    lit = true;
  }
  if (armed && millis() - fedMs >= watchdogMs) {
    dark(); armed = false; primed = false;
  }
  while (Serial.available() > 0) {
    char c = Serial.read();
    if (c == '\r') continue;
    if (c != '\n') {
      if (length < (int)sizeof(line) - 1) line[length++] = c; else tooLong = true;
      continue;
    }
    line[length] = 0;
    if (tooLong) fail("COMMAND", "too long"); else obey();
    length = 0; tooLong = false;
    return;
  }
}
