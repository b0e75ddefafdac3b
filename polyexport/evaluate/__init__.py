"""A model and a data set -> metrics, with the flood fill beside the model everywhere."""
