// Runs conformance scenarios against the C library and prints TAP; exits with 1 if one failed or there was none.
//
//     runner FILE_OR_FOLDER...
//
// Of a folder it takes the *.json files, sorted by name. Format: docs/scenarios.md. With ISR_SCENARIO_DIRECTORY=1 in the environment
// every scenario gets a fresh directory, not only those that persist. It calls isr.h itself, not isr.hpp.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "runner/world.hpp"

namespace {

namespace fs = std::filesystem;
using runner::Fault;

struct Report {
  std::string file, name = "(no name)";
  std::vector<std::string> faults;
};

std::string one_line(std::string text) {
  for (std::size_t at; (at = text.find_first_of("\r\n")) != std::string::npos;)
    text.replace(at, 1, text[at] == '\n' ? "\\n" : "\\r");
  return text;
}

bool directory_for_all() {
  const char* value = std::getenv("ISR_SCENARIO_DIRECTORY");
  return value && std::string(value) == "1";
}

void run_steps(const runner::Scenario& scenario) {
  runner::World world(scenario, directory_for_all());
  std::optional<Fault> failed;
  for (std::size_t i = 0; i < scenario.steps.size() && !failed; ++i) {
    const auto& step = scenario.steps[i];
    try {
      world.run(step);
    } catch (const Fault& fault) {
      failed.emplace("step " + std::to_string(i + 1) + " of " + std::to_string(scenario.steps.size()) + ": " + step.text);
      for (const auto& line : fault.lines) failed->lines.push_back("  " + line);
    }
  }
  try {
    world.close();
  } catch (const Fault& fault) {
    if (!failed) throw;
    failed->lines.insert(failed->lines.end(), fault.lines.begin(), fault.lines.end());
  }
  if (failed) throw *failed;
}

Report run_file(const fs::path& path) {
  Report report;
  report.file = path.filename().string();
  try {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw Fault("cannot be read");
    const auto raw = runner::json::parse(in);
    if (raw.is_object() && raw.contains("name") && raw["name"].is_string()) report.name = raw["name"];
    run_steps(runner::parse_scenario(raw));
  } catch (const Fault& fault) {
    report.faults = fault.lines;
  } catch (const std::exception& e) {
    report.faults = {e.what()};
  }
  return report;
}

std::vector<fs::path> scenario_files(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const auto& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() == ".json") inside.push_back(entry.path());
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

void print(std::size_t number, const Report& report) {
  std::string name = one_line(report.name);
  // A `#` in a name would begin a directive.
  for (std::size_t at = 0; (at = name.find('#', at)) != std::string::npos; at += 2) name.insert(at, "\\");
  std::cout << (report.faults.empty() ? "ok " : "not ok ") << number << " - c " << report.file << ": " << name << '\n';
  for (const auto& line : report.faults) std::cout << "# " << one_line(line) << '\n';
  std::cout.flush();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto files = scenario_files({argv + 1, argv + argc});
    if (files.empty()) {
      std::cerr << "usage: runner FILE_OR_FOLDER...; no *.json file was given\n";
      return 1;
    }
    std::cout << "1.." << files.size() << '\n';
    bool failed = false;
    for (std::size_t i = 0; i < files.size(); ++i) {
      const Report report = run_file(files[i]);
      failed |= !report.faults.empty();
      print(i + 1, report);
    }
    return failed ? 1 : 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
