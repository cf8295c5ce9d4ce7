"""Theory against simulation: estimates with standard errors, equivalence tests, verdicts."""

from symtheory.comparison._compare import compare as compare
from symtheory.comparison._equivalence import equivalence as equivalence
from symtheory.comparison._estimates import Estimate as Estimate
from symtheory.comparison._estimates import difference as difference
from symtheory.comparison._estimates import linear_combination as linear_combination
from symtheory.comparison._estimates import mean_over_replicas as mean_over_replicas
from symtheory.comparison._estimates import ratio as ratio
from symtheory.comparison._estimates import tail_average as tail_average
from symtheory.comparison._experiment import Experiment as Experiment
from symtheory.comparison._experiment import Plan as Plan
from symtheory.comparison._experiment import experiment as experiment
from symtheory.comparison._experiment import plan as plan
from symtheory.comparison._experiment import starting_points as starting_points
from symtheory.comparison._final import FinalCharge as FinalCharge
from symtheory.comparison._final import diagonal_weights as diagonal_weights
from symtheory.comparison._final import final_charges as final_charges
from symtheory.comparison._final import final_total as final_total
from symtheory.comparison._final import (
    initialization_independence as initialization_independence,
)
from symtheory.comparison._power import POWER as POWER
from symtheory.comparison._prediction import Prediction as Prediction
from symtheory.comparison._prediction import measured_charge as measured_charge
from symtheory.comparison._prediction import predict as predict
from symtheory.comparison._slow import SlowComparison as SlowComparison
from symtheory.comparison._slow import compare_slow_flow as compare_slow_flow
from symtheory.comparison._squares import square_of_mean as square_of_mean
from symtheory.comparison._stationarity import NotStationaryError as NotStationaryError
from symtheory.comparison._stationarity import stationarity as stationarity
from symtheory.comparison._stationarity import stationary_mean as stationary_mean
from symtheory.comparison._tails import tail_index as tail_index
from symtheory.comparison._trend import Trend as Trend
from symtheory.comparison._trend import trend as trend
from symtheory.comparison._verdicts import diverged_verdict as diverged_verdict
