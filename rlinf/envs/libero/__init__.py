"""LIBERO: 130 tabletop and kitchen tasks in MuJoCo, with instructions and recorded start states."""
