// Prints how states of every kind read; ends with 1 where one reads wrong.

#include <iostream>
#include <string>

#include "describe.hpp"

using emollama_ros::msg::EmotionState;
using emollama_ros_cpp_example::describe;

namespace
{

int wrong = 0;

void expect(const EmotionState & state, const std::string & words)
{
  const auto line = describe(state);
  std::cout << line << "\n";
  if (line != words) {
    std::cerr << "expected: " << words << "\n";
    ++wrong;
  }
}

}  // namespace

int main()
{
  EmotionState state;
  state.label = EmotionState::UNKNOWN;
  state.status = EmotionState::STALE;
  state.status_text = "waiting for input";
  expect(state, "nothing is perceived: waiting for input");

  state.label = EmotionState::UNCERTAIN;
  state.confidence = 0.31F;
  expect(state, "somebody may be there, but no label is likely enough");

  state.label = EmotionState::HAPPY;
  state.confidence = 0.714F;
  state.status = EmotionState::OK;
  expect(state, "seems happy (71 %)");

  state.reasoning = "There is a smile.";
  expect(state, "seems happy (71 %); last reason: There is a smile.");

  state.status = EmotionState::DEGRADED;
  state.status_text = "audio: silent for 2.0 s";
  expect(state, "seems happy (71 %); last reason: There is a smile. [audio: silent for 2.0 s]");
  return wrong == 0 ? 0 : 1;
}
