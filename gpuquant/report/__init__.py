"""A page about photos and their results, made of plain records: report.html."""
