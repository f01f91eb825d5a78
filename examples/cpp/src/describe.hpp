// A state of emollama_ros in words.

#pragma once

#include <string>

#include <emollama_ros/msg/emotion_state.hpp>

namespace emollama_ros_cpp_example
{

/// Returns one line. Where no label is told it says so, and why, and does not guess.
std::string describe(const emollama_ros::msg::EmotionState & state);

}  // namespace emollama_ros_cpp_example
