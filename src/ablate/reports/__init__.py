"""What shows a lesson: terminal, Markdown, CSV, LaTeX, plots, page, paper."""
