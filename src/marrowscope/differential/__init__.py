"""From classified cells to a differential: shares, ratios, ranges and what to doubt."""
