#include "describe.hpp"

#include <cmath>

namespace emollama_ros_cpp_example
{

using emollama_ros::msg::EmotionState;

std::string describe(const EmotionState & state)
{
  if (state.label == EmotionState::UNKNOWN) {
    return "nothing is perceived: " + state.status_text;
  }
  if (state.label == EmotionState::UNCERTAIN) {
    return "somebody may be there, but no label is likely enough";
  }
  const auto percent = std::lround(100.0 * state.confidence);
  auto line = "seems " + state.label + " (" + std::to_string(percent) + " %)";
  // The reasoning is older than the state; its own stamp says about which window it is.
  if (!state.reasoning.empty()) {
    line += "; last reason: " + state.reasoning;
  }
  if (state.status == EmotionState::DEGRADED) {
    line += " [" + state.status_text + "]";
  }
  return line;
}

}  // namespace emollama_ros_cpp_example
