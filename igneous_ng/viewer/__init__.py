"""Looking at layers: one local server for them and for the Neuroglancer client, states, and screenshots."""
