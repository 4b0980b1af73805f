"""Control: Gymnasium's classic and MuJoCo environments."""
