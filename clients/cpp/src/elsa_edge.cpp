// The whole client as one source: compile this file alone, with include/, src/ and the folder of ort_abi.h on the path.
#include "bundle.cpp"
#include "controller.cpp"
#include "json.cpp"
#include "network.cpp"
#include "plan.cpp"
#include "profile.cpp"
#include "runtime.cpp"
#include "session.cpp"
