"""The label table: CSV files, folders of images and QuPath annotations, read into one table of patches."""
