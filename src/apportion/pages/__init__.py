"""What every page of ours is made with: data and scripts inside one HTML file, and the common style."""
