// Logs every state of perception: `ros2 run emollama_ros_cpp_example emotion_subscriber`.

#include <memory>

#include <rclcpp/rclcpp.hpp>

#include "describe.hpp"

namespace emollama_ros_cpp_example
{

class EmotionSubscriber : public rclcpp::Node
{
public:
  EmotionSubscriber()
  : Node("emotion_subscriber")
  {
    // Reliable and latched, as it is published: the present state comes at once.
    const auto qos = rclcpp::QoS(10).reliable().transient_local();
    subscription_ = create_subscription<emollama_ros::msg::EmotionState>(
      "emotion/state", qos, [this](const emollama_ros::msg::EmotionState & state) {
        RCLCPP_INFO(get_logger(), "%s", describe(state).c_str());
      });
  }

private:
  rclcpp::Subscription<emollama_ros::msg::EmotionState>::SharedPtr subscription_;
};

}  // namespace emollama_ros_cpp_example

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<emollama_ros_cpp_example::EmotionSubscriber>());
  rclcpp::shutdown();
  return 0;
}
