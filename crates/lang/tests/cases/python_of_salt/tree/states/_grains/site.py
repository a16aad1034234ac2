def site(): pass
