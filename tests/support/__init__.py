"""What tests share: pictures that say what is written on them, children to kill, a look into the database."""
