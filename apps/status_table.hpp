// Text for people: aligned tables, and JSON documents shown as such.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace crema::cli {

/// Terminals obey escape sequences, and words may come from the network: without control characters.
std::string harmless(std::string text);

/// Columns aligned, two spaces apart; the first row is the head.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

/// "950 ms", "12 s", "3 min 4 s", "2 h 5 min", "9 d 3 h"
std::string format_duration(uint64_t ms);

/// What nodes hold for owners that could not be reached: a list of objects, of unchecked origin.
std::string format_hints(const nlohmann::json& hints);

/// A node's status. Knows what a reader wants first, and shows whatever else there is: plain members as lines, lists of
/// objects as tables, so that a newer or older node is shown as well; but not
/// the hints, of which there may be many.
std::string format_status(const nlohmann::json& status);

} // namespace crema::cli
