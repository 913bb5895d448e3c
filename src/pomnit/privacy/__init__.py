"""What may be known to whom? Keys now; exclusions, sensitive text and retention belong here too."""
